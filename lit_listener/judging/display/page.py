"""What a judge said as one HTML file that asks no network for anything and runs no script.

Pictures are inside it, made small. Whatever comes from others (prompts, names of files, traces) is escaped.
"""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from io import BytesIO

from PIL import Image

from lit_listener.judging.display.exhibit import Exhibit, Shown
from lit_listener.judging.display.told import ANCHOR, Told, told_of_images, told_of_list, told_of_pair
from lit_listener.judging.display.wording import (
    FLIPPED,
    Mark,
    how_asked,
    legend,
    plain,
    plain_line,
    verdict,
    what_scores_are,
)
from lit_listener.judging.results import Comparison, Ranking

_THUMBNAIL = 256
"""Pixels of a thumbnail's longer side, at most."""
_QUALITY = 85  # of thumbnails that had to be made smaller, as JPEG has it


def ranking_page(ranking: Ranking, exhibit: Exhibit) -> str:
    """A ranking as a page, best first, with the reasoning about each image.

    Args:
        ranking: the ranking.
        exhibit: its images.
    """
    anchor = exhibit.anchor_of(ranking)
    name = None if anchor is None else anchor.name
    told = told_of_images(ranking, exhibit.names, name)
    cards = []
    for place in ranking.order:
        label, each = f"Rank {ranking.ranks[place]} of {len(ranking.scores)}", told[place]
        notes = _tags(each.marks) + _listener(each.listener)
        cards.append(_card(exhibit.images[place], label, "score", ranking.scores[place], notes, _traces([each])))
    beside = "" if ranking.anchor is not None or anchor is None else f"<h2>The anchor</h2>{_picture_alone(anchor)}"
    at_once = told_of_list(ranking, exhibit.names)
    reasoning = (
        _reasoning([mark for each in at_once for mark in each.marks], at_once)
        if any(each.traces for each in at_once)
        else ""
    )
    odd = (mark for each in (*told, *at_once) for mark in each.marks if mark is not ANCHOR)
    about = [what_scores_are(ranking, name), legend(odd)]
    return _page(ranking, exhibit.model, about, f"<ol>{''.join(cards)}</ol>{beside}{reasoning}")


def comparison_page(comparison: Comparison, exhibit: Exhibit) -> str:
    """A comparison as a page, with its reasoning.

    Args:
        comparison: the comparison.
        exhibit: its images, A and B.
    """
    names = (exhibit.images[0].name, exhibit.images[1].name)
    heard = comparison.listener_p_a
    told = told_of_pair(comparison, names)
    odd = [mark for each in told for mark in each.marks]
    cards = "".join(
        _card(shown, f"Image {label}", "probability of being preferred", p, _listener(listener), "")
        for shown, label, p, listener in (
            (exhibit.images[0], "A", comparison.p_a, heard),
            (exhibit.images[1], "B", 1 - comparison.p_a, None if heard is None else 1 - heard),
        )
    )
    meanings = legend(mark for mark in odd if mark is not FLIPPED)  # which the verdict tells
    about = [verdict(comparison, (f"A, {names[0]}", f"B, {names[1]}")), meanings]
    return _page(comparison, exhibit.model, about, f"<ol>{cards}</ol>{_reasoning(odd, told)}")


def _page(result: Comparison | Ranking, model: str, told: Iterable[str], body: str) -> str:
    prompt = escape(plain(result.prompt))
    css = (files(__package__) / "page.css").read_text(encoding="utf-8")
    facts = {"Judge": model, "Asked": f"{how_asked(result)}, seed {result.seed}"}
    listed = "".join(f"<dt>{escape(key)}</dt><dd>{_text(value)}</dd>" for key, value in facts.items())
    explained = "".join(f'<p class="told">{_text(each)}</p>' for each in told if each)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{prompt}</title><style>\n{css}</style></head>\n<body><header><h1>{prompt}</h1>"
        f"<dl>{listed}</dl>{explained}</header>\n<main>{body}</main></body></html>\n"
    )


def _card(shown: Shown, label: str, number: str, p: float, notes: str, traces: str) -> str:
    return (
        f'<li class="image">{_thumbnail(shown)}<div><p class="place">{label}</p><h2>{_text(shown.name)}</h2>'
        f'<p class="p">{p:.3f} <small>{number}</small></p>'
        f'<div class="bar" aria-hidden="true"><span style="width:{100 * p:.1f}%"></span></div>'
        f"{notes}</div>{traces}</li>"
    )


def _picture_alone(shown: Shown) -> str:
    return f'<div class="image">{_thumbnail(shown)}<h2>{_text(shown.name)}</h2></div>'


def _tags(tags: Sequence[Mark]) -> str:
    kinds = ("tag anchor" if mark is ANCHOR else "tag" for mark in tags)
    return "".join(f'<span class="{kind}">{escape(mark.text)}</span>' for kind, mark in zip(kinds, tags, strict=True))


def _listener(p: float | None) -> str:
    return "" if p is None else f'<p class="facts">the listener\'s probability: {p:.3f}</p>'


def _traces(told: Sequence[Told]) -> str:
    """The reasoning, folded away; of several images each under its name."""
    count = sum(len(each.traces) for each in told)
    if not count:
        return ""
    lines = []
    for each in told:
        if len(told) > 1:
            lines.append(f'<p class="facts">{_text(each.heading)}</p>')
        for trace in each.traces:
            lines.append(f'<p class="facts">{_text(" · ".join(trace.facts))}</p>')
            lines.append(f'<p class="thoughts">{escape(trace.thoughts)}</p>')
    return f"<details><summary>{count} {'trace' if count == 1 else 'traces'}</summary>{''.join(lines)}</details>"


def _reasoning(odd: Sequence[Mark], told: Sequence[Told]) -> str:
    """The reasoning about all images, under them."""
    return f'<section class="traces">{_tags(odd)}{_traces(told)}</section>'


def _text(text: str) -> str:
    return escape(plain_line(text))


def _thumbnail(shown: Shown) -> str:
    """A picture in the page: as it is where it is small, else as a JPEG."""
    image = shown.picture.image
    small = max(image.size) <= _THUMBNAIL
    if not small:
        image = image.copy()
        image.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    image.save(buffer, "PNG" if small else "JPEG", quality=_QUALITY)
    kind, data = "png" if small else "jpeg", b64encode(buffer.getvalue()).decode()
    width, height = image.size
    return f'<img src="data:image/{kind};base64,{data}" width="{width}" height="{height}" alt="{_text(shown.name)}">'
