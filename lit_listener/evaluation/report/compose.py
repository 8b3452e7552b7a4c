"""The report's folder: report.html, a PNG a plot under figures/ and a CSV a table and a plot under data/."""

from collections.abc import Sequence
from pathlib import Path

from lit_listener.evaluation.replaced_file import replaced_file
from lit_listener.evaluation.report.drawing import png
from lit_listener.evaluation.report.files import file_stem, write_csvs
from lit_listener.evaluation.report.page import page
from lit_listener.evaluation.report.sample import Sample
from lit_listener.evaluation.results_file import About
from lit_listener.evaluation.section import Section

__all__ = ["Section", "write_report"]


def write_report(
    runs: Sequence[str], sections: Sequence[Section], sample: Sample | None, output: Path, about: About
) -> Path:
    """Write a report; each file is there whole or not at all, and the page comes last.

    Pictures and CSVs of an earlier report in the same folder are deleted; other files are left alone.

    Args:
        runs: Names of the runs that are reported on.
        sections: What was found, one section a source.
        sample: Pairs to browse; None for a page without them.
        output: The report's folder; made if missing.
        about: What the numbers are of: date, versions, protocol, counts.

    Returns:
        The page, report.html.

    Raises:
        ValueError: There is no run, two sections are of one source, or a plot cannot be drawn.
    """
    if not runs:
        raise ValueError("a report needs at least one run, got none")
    sources = [section.source for section in sections]
    if len(set(sources)) < len(sources):
        raise ValueError(f"a report holds one section a source, got {sources}")
    output = Path(output)
    if (output / "report.html").is_file():  # what lies in its folders is an earlier report's
        for old in (*(output / "figures").glob("*.png"), *(output / "data").glob("*.csv")):
            old.unlink()
    pictures = {(section.source, plot.key): png(plot) for section in sections for plot in section.plots}
    for (source, key), picture in pictures.items():
        with replaced_file(output / "figures" / f"{file_stem(source, key)}.png") as beside:
            beside.write_bytes(picture)
    for section in sections:
        write_csvs(section, output / "data")
    title = f"{', '.join(runs[:-1])} and {runs[-1]}" if len(runs) > 1 else runs[0]
    text = page(f"Evaluation of {title}", sections, sample, about, pictures)
    path = output / "report.html"
    with replaced_file(path) as beside:
        # A lone surrogate, which JSON can hold and UTF-8 cannot, must not cost the report.
        beside.write_bytes(text.encode("utf-8", "replace"))
    return path
