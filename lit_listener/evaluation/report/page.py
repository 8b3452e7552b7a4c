"""The report as one HTML file that asks no network for anything: pictures, looks and scripts are inside it.

Tables and plots need no scripts. The sample's pairs lie in the page as JSON and are shown by assets/page.js, which
writes what comes from data as text, never as HTML; traces are a model's words, and models write what they like.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from lit_listener.evaluation.judged_pairs import JudgedPair
from lit_listener.evaluation.number_text import NOT_THERE
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.report.files import file_stem, slug
from lit_listener.evaluation.report.markup import breakable, plot_html, table_html
from lit_listener.evaluation.report.sample import FLAGS, Sample, SampledPair, ShownImage, flags_of
from lit_listener.evaluation.results_file import About
from lit_listener.evaluation.section import Section

Pictures = Mapping[tuple[str, str], bytes]
"""PNGs of plots, by source and the plot's key."""

_NAMELESS = "unnamed source"
_NARROW = 1
"""Tables of so many columns stand two abreast on a wide screen."""


def page(
    title: str, sections: Sequence[Section], sample: Sample | None, about: About, pictures: Pictures | None = None
) -> str:
    """The whole page.

    Args:
        title: Heading of the page.
        sections: Tables and plots, one section a source.
        sample: Pairs to browse; None for a page without them.
        about: What the numbers are of. Texts, numbers and lists stand in the page's head; mappings under it, folded.
        pictures: The plots' pictures; a plot without one is told in words.

    Returns:
        HTML.
    """
    assets = files(__package__) / "assets"
    template = Template((assets / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title),
        heading=breakable(title),
        css=(assets / "page.css").read_text(encoding="utf-8"),
        js=(assets / "page.js").read_text(encoding="utf-8"),
        about=_about(about),
        contents=_contents(sections, sample),
        sections="".join(_section(section, pictures or {}) for section in sections),
        samples=_samples(sample),
        payload=_payload(sample),
    )


def _about(about: About) -> str:
    plain = {key: value for key, value in about.items() if not isinstance(value, Mapping)}
    folded = {key: value for key, value in about.items() if isinstance(value, Mapping)}
    details = "".join(
        f"<details><summary>{escape(key)}</summary>{_definitions(value)}</details>" for key, value in folded.items()
    )
    return (_definitions(plain) if plain else "") + details


def _definitions(values: Mapping[str, object]) -> str:
    pairs = "".join(f"<dt>{escape(str(key))}</dt><dd>{_value(value)}</dd>" for key, value in values.items())
    return f"<dl>{pairs}</dl>"


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return _definitions(value)
    if isinstance(value, list | tuple):
        return "<br>".join(_value(held) for held in value)
    return NOT_THERE if value in (None, "") else escape(str(value))


def _contents(sections: Sequence[Section], sample: Sample | None) -> str:
    parts = []
    for section in sections:
        links = "".join(
            f'<li><a href="#{file_stem(section.source, result.key)}">{escape(result.title)}</a>'
            f"{_paper(result.paper)}</li>"
            for result in section.results
        )
        name = escape(section.source or _NAMELESS)
        parts.append(f'<li><a href="#{_section_id(section)}">{name}</a><ul>{links}</ul></li>')
    if sample is not None:
        parts.append('<li><a href="#samples">Judged pairs</a></li>')
    return f"<ul>{''.join(parts)}</ul>"


def _paper(paper: str) -> str:
    return f" <small>{escape(paper)}</small>" if paper else ""


def _section_id(section: Section) -> str:
    return f"source-{slug(section.source)}"


def _section(section: Section, pictures: Pictures) -> str:
    tables = "".join(table_html(table, section.source) for table in section.tables)
    plots = "".join(plot_html(plot, section.source, pictures.get((section.source, plot.key))) for plot in section.plots)
    narrow = all(len(table.columns) <= _NARROW for table in section.tables)
    return (
        f'<section id="{_section_id(section)}"><h2>{escape(section.source or _NAMELESS)}</h2>'
        f'<div class="{"plots" if narrow else "tables"}">{tables}</div><div class="plots">{plots}</div></section>'
    )


def _samples(sample: Sample | None) -> str:
    if sample is None:
        return ""
    if not sample.pairs:
        return '<section id="samples"><h2>Judged pairs</h2><p>No pair was judged.</p></section>'
    drawn = f"All {sample.of:,} judged pairs."
    if len(sample.pairs) < sample.of:
        drawn = (
            f"{len(sample.pairs):,} of {sample.of:,} judged pairs. Odd ones are drawn more often than they occur: "
            "read shares off the tables, not off these counts."
        )
    # The script puts the pairs in place of the sentence, which thus stays where it does not run.
    return (
        f'<section id="samples"><h2>Judged pairs</h2><p class="drawn">{drawn}</p>'
        '<div id="browser"><p>Browsing the pairs needs JavaScript; all else on this page does without.</p></div>'
        "</section>"
    )


def _payload(sample: Sample | None) -> str:
    """The sample as JSON that cannot end the script element it stands in."""
    content: dict[str, Any] = {"runs": [], "flags": FLAGS, "pictures": {}, "pairs": []}
    if sample is not None:
        content["runs"] = sample.runs
        content["pictures"] = sample.pictures
        content["pairs"] = [_pair(pair) for pair in sample.pairs]
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _pair(pair: SampledPair) -> dict[str, Any]:
    row = pair.any_row
    return {
        "source": pair.source or _NAMELESS,
        "id": row.pair_id,
        "prompt": row.prompt,
        "category": row.category,
        "share": row.share_a,
        "votes": row.votes,
        "images": [_image(image) for image in pair.images],
        "judged": {run: _judged(judged) for run, judged in pair.by_run.items()},
    }


def _image(image: ShownImage) -> dict[str, Any]:
    return {"picture": image.picture, "reason": image.reason, "generator": image.generator}


def _judged(pair: JudgedPair) -> dict[str, Any]:
    return {"flags": flags_of(pair), "p": pair.p_a(), "rows": [_row(row) for row in pair.rows]}


def _row(row: Prediction) -> dict[str, Any]:
    """A completion; all its probabilities are of image a, whichever was displayed first."""

    def of_a(p_second: float | None) -> float | None:
        return None if p_second is None else p_second if row.first == "b" else 1.0 - p_second

    return {
        "first": row.first,
        "rollout": row.rollout,
        "outcome": row.outcome,
        "answer": row.chosen,
        "level": row.level,
        "correct": row.correct,
        "contradicts": row.contradicts,
        "length": row.length,
        "truncated": row.truncated,
        "p": row.p_a,
        "listener": of_a(row.listener_p_second),
        "independent": of_a(row.independent_p_second),
        "trace": row.trace,
    }
