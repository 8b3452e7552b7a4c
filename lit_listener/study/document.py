"""A study as a document: reproduction.md with its pictures and CSV files, all of it written from the record.

Each file is there whole or not at all, and the document comes last.
"""

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from io import StringIO
from pathlib import Path

from lit_listener.evaluation.crossed import noise_counted
from lit_listener.evaluation.replaced_file import replaced_file
from lit_listener.evaluation.report.drawing import png
from lit_listener.evaluation.report.files import plot_csv, table_csv
from lit_listener.evaluation.results import ResultPlot
from lit_listener.study.claims import findings
from lit_listener.study.figures import all_figures
from lit_listener.study.judgements import SOURCE_NAMES, SOURCES, Judgements, is_clear
from lit_listener.study.markdown import claims_markdown, pipe_table, plot_markdown, table_markdown
from lit_listener.study.record import Made, Study
from lit_listener.study.tables import PaperTable, all_tables
from lit_listener.study.verdicts import VERDICTS, Finding
from lit_listener.study.why import Diagnosis, diagnose

FOLDER = "reproduction"
"""Of the pictures and CSV files, beside the document."""

_DIFFERS = (
    "**The model.** A Qwen2.5-VL of 1.3 million parameters, trained on the miniature world from the first step; the "
    "paper's has 7 billion and has seen the world's pictures.",
    "**The data.** Drawn scenes with simulated voters (a Bradley-Terry model of how well a picture fits its prompt), 9 "
    "to 25 votes a pair; in the paper people's votes on generated images. In domain, the paper trains on HPDv2 and "
    "tests on ImageReward; here both are of the same renderers.",
    "**What is out of domain.** A renderer that was never rewarded. But the instruct model, with it the listener and "
    "the reference, the start and the independent listener were all taught on its pictures too, so that it is a mild "
    "test, and open to what the review asks of overlaps. In the paper newer generators.",
    "**The start.** In the paper one instruct model is start, reference and listener. Here the start is that model "
    "taught anew: half of the traces it learned from are hasty, and a quarter state the wrong verdict before a right "
    "answer, so that the fault that the paper describes is there. How much of it there is was chosen, not found. "
    "Reference and listener of all that is trained by GRPO on pairs are the instruct model, towards which KL pulls; "
    "SFT on answers starts from it, as the paper's does.",
    "**The protocol.** Here pairs, each in both display orders; for ImageReward the paper compares the images of a "
    "prompt with one of them, drawn at random.",
    "**The judge of contradictions.** A rule that reads the stated verdict, and a listener that took no part in "
    "training; in the paper a text model of 14 billion parameters.",
    "**The listener.** The instruct model, which is also the reference, as in the paper. Here it is consistent by "
    "training; how consistent the paper's is, is not told.",
    "**Seeds.** The paper tells of no repeated training, and not what its “±” is; here every arm is trained with every "
    "seed.",
)


def write_document(study: Study, folder: Path, command: str) -> Path:
    """Write what a study says.

    Args:
        study: A finished study.
        command: What is typed to write it again.
        folder: Where reproduction.md is written, and beside it reproduction/ with a PNG a figure and a CSV a table and
            a figure; made if missing, and files of the same names are replaced.

    Returns:
        The document.

    Raises:
        ValueError: The study was not judged on the sources that the paper's tables need.
    """
    judged = Judgements(study)
    found = findings(judged)
    tables, figures, diagnosis = all_tables(judged), all_figures(judged), diagnose(judged, found)
    texts = {
        "claims.csv": _claims_csv(found),
        "runs.csv": _runs_csv(study.made),
        **{f"{each.table.key}.csv": table_csv(each.table) for each in tables},
        **{f"{table.key}.csv": table_csv(table) for table in diagnosis.tables},
        **{f"{plot.key}.csv": plot_csv(plot) for plot in figures},
    }
    for plot in figures:
        with replaced_file(folder / FOLDER / f"{plot.key}.png") as beside:
            beside.write_bytes(png(plot))
    for name, text in texts.items():
        with replaced_file(folder / FOLDER / name) as beside:
            beside.write_text(text, encoding="utf-8", newline="")
    document = folder / "reproduction.md"
    with replaced_file(document) as beside:
        beside.write_text(_document(judged, found, tables, figures, diagnosis, command), encoding="utf-8", newline="")
    return document


def summary(found: Sequence[Finding], no_room: Collection[str] = ()) -> str:
    """What agrees with the paper and what does not, as one plain paragraph; the numbers stand in the table below it.

    Args:
        found: The claims with their verdicts.
        no_room: Keys of those whose gain has no place here.
    """
    names: Mapping[str, str] = {
        "holds": "Holds here",
        "does not hold": "Does not hold here",
        "the opposite": "The opposite comes out for",
        "cannot be told": "Cannot be told from so few seeds and prompts",
    }
    sentences = []
    for verdict in VERDICTS:
        of_verdict = [finding for finding in found if finding.decision.verdict == verdict]
        if of_verdict:
            listed = "; ".join(
                _phrase(finding.claim.says) + (" †" if finding.claim.key in no_room and verdict != "holds" else "")
                for finding in of_verdict
            )
            sentences.append(f"{names[verdict]} ({len(of_verdict)} of {len(found)}): {listed}.")
    if any("†" in sentence for sentence in sentences):
        sentences.append(
            "†: a gain as large as the paper's has no place here, whoever judges (“Room”, under Why), so that not "
            "finding it says nothing against the paper."
        )
    return " ".join(sentences)


def _phrase(says: str) -> str:
    """A claim within a sentence: names keep their capitals."""
    first = says.split(" ", maxsplit=1)[0]
    return says if len(first) > 1 and first.isupper() else says[0].lower() + says[1:]


def _document(
    judged: Judgements,
    found: Sequence[Finding],
    tables: Sequence[PaperTable],
    figures: Sequence[ResultPlot],
    diagnosis: Diagnosis,
    command: str,
) -> str:
    parts = [
        f"# {judged.study.design.title}",
        *_head(judged, command),
        "## The claims, and what comes out here",
        f"**What agrees and what does not.** {summary(found, diagnosis.no_room)}",
        claims_markdown(found),
        f"A verdict is decided by the interval alone; each claim's rule is below. {len(found)} intervals of 95% are "
        "read here: about one in twenty would miss its truth by chance. The paper's points are differences of its "
        "printed figures, some of which are rounded to whole points; “–”: its text has no number. The review asks what "
        "is left under random numbers, under scores that know nothing of the votes and under a mismatched listener; to "
        "look at consistency too is our addition. To be better than a control is not to be better than plain GRPO, of "
        f"which other claims tell. [CSV]({FOLDER}/claims.csv)",
        "### Claim by claim",
        "\n".join(
            f"- **{finding.claim.says}** ({finding.claim.where}). {finding.sentence} *{finding.claim.rule.words}*"
            for finding in found
        ),
        "## Tables",
        *(table_markdown(each.table, FOLDER, each.controls_from) for each in tables),
        "## Figures",
        *(plot_markdown(plot, FOLDER) for plot in figures),
        "## Why",
        "\n".join(f"- {sentence}" for sentence in diagnosis.sentences),
        *(table_markdown(table, FOLDER) for table in diagnosis.tables),
        "## What differs from the paper",
        "\n".join(f"- {sentence}" for sentence in _DIFFERS),
        "## How intervals are made",
        _intervals(len(judged.study.design.seeds)),
        f"What each of the {len(judged.study.made.process_seconds)} runs took: [CSV]({FOLDER}/runs.csv)",
    ]
    return "\n\n".join(parts) + "\n"


def _head(judged: Judgements, command: str) -> list[str]:
    study = judged.study
    made = study.made
    seconds = sum(made.process_seconds.values())
    pairs = ", ".join(
        f"{len(judged.pairs(source)):,} {SOURCE_NAMES[source]} ({sum(map(is_clear, judged.pairs(source))):,} of them "
        "clear)"
        for source in SOURCES
    )
    facts = {
        "commit": ", ".join(made.commits),
        "finished": made.finished,
        "versions": ", ".join(f"{name} {version}" for name, version in made.versions.items()),
        "machine": made.machine,
        "took": f"{_hours(seconds)} of process time in {len(made.process_seconds)} runs, {made.processes} at a time: "
        f"about {_hours(seconds / made.processes)}",
        "arms and seeds": f"{len(study.arms)} arms, seeds {', '.join(map(str, study.design.seeds))}",
        "test pairs": f"{pairs}; each in both display orders, {_thoughts(judged)}",
    }
    quick = (
        "**This is the quick form: few steps, few pairs, few seeds. It shows that all of the study runs; its numbers "
        "mean little, and so do its verdicts.**"
    )
    return [
        f"Written by `{command}`, every number and every verdict; edits are lost when it runs again. The paper: "
        "Gambashidze et al. 2025, “Listener-Rewarded Thinking in VLMs for Image Preferences”. Here: the same method in "
        "Shapes, the bundled miniature world.",
        *([quick] if study.design.short else []),
        pipe_table(["", ""], [[name, value] for name, value in facts.items()], texts=2),
    ]


def _thoughts(judged: Judgements) -> str:
    most = max(judged.rollouts(arm, source) for arm in judged.study.arms for source in SOURCES)
    return f"up to {most} thoughts an order" if most > 1 else "one thought an order"


def _intervals(seeds: int) -> str:
    if seeds == 1:
        return (
            "There is one seed, so that intervals are over prompts alone (percentile bootstrap of whole prompts, 2,000 "
            "draws): what another seed would give is not in them, and they are too narrow for any claim about a method."
        )
    widest = f"{math.sqrt(noise_counted(seeds)):.1f}"
    return (
        "Brackets are 95% intervals over seeds and prompts. Every seed's judge was asked about the same prompts, so "
        "each of 2,000 draws takes seeds with replacement and, independently, prompts with replacement (the pigeonhole "
        "bootstrap, Owen 2007). Differences take the same seeds and prompts on both sides. A bootstrap of few seeds is "
        f"too narrow: with {seeds}, what a draw of seeds moves is expanded so that seeds alone would give about "
        "Student's interval of the seeds' means. Noise of single answers counts more than once, so that intervals "
        f"rather err on the wide side: where seeds and prompts make no difference, up to {widest} times as wide as "
        "need be. Where all values are alike an interval has no width; that is no proof of certainty."
    )


def _runs_csv(made: Made) -> str:
    return _csv([("run", "seconds"), *((name, f"{seconds:.1f}") for name, seconds in made.process_seconds.items())])


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.0f} minutes"


def _claims_csv(found: Sequence[Finding]) -> str:
    rows: list[tuple[str, ...]] = [
        ("key", "claim", "where", "paper", "mean", "low", "high", "verdict", "because", "compares")
    ]
    for finding in found:
        claim, interval = finding.claim, finding.ours.interval
        numbers = (
            "" if math.isnan(number) else repr(number) for number in (interval.mean, interval.low, interval.high)
        )
        paper = "" if claim.paper is None else repr(claim.paper.value)
        decision = finding.decision
        rows.append(
            (claim.key, claim.says, claim.where, paper, *numbers, decision.verdict, decision.because, claim.compares)
        )
    return _csv(rows)


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
