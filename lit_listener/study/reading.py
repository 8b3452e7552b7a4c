"""A study's folder as a record: the judgements of every arm with every seed, and how they were made."""

from collections.abc import Iterable
from pathlib import Path

from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.predictions_file import read_predictions
from lit_listener.study.design import Arm, Design
from lit_listener.study.jobs import jobs_of, test_folder
from lit_listener.study.record import ArmRuns, Made, Study
from lit_listener.study.running import Note, note_of


def read_study(design: Design, root: Path) -> Study:
    """The finished study in a folder.

    Args:
        design: the study.
        root: its folder.

    Raises:
        FileNotFoundError: one of its runs is not done.
        ValueError: two seeds of an arm, or two arms, judged different pairs.
    """
    notes: dict[str, Note] = {}
    for job in jobs_of(design, root):
        note = note_of(root, job)
        if note is None or not note.done:
            raise FileNotFoundError(
                f"{job.name} of the study in {root} is not done: start the study again to finish it"
            )
        notes[job.name] = note
    arms = {arm.key: ArmRuns(arm, tuple(_predictions(root, arm, seed) for seed in design.seeds)) for arm in design.arms}
    _check_pairs(arms)
    return Study(design, arms, _made(notes))


def _predictions(root: Path, arm: Arm, seed: int) -> tuple[Prediction, ...]:
    return tuple(read_predictions(test_folder(root, arm, seed) / "predictions.parquet"))


def _check_pairs(arms: dict[str, ArmRuns]) -> None:
    judged = {
        (key, place): {(row.source, row.pair_id) for row in rows}
        for key, runs in arms.items()
        for place, rows in enumerate(runs.by_seed)
    }
    first, *others = judged
    for other in others:
        if judged[other] != judged[first]:
            raise ValueError(
                f"arm {other[0]} (run {other[1]}) judged other pairs than arm {first[0]}: all arms and seeds "
                "of a study have to judge the same ones; give them the same test data"
            )


def _made(notes: dict[str, Note]) -> Made:
    in_time = sorted(notes.values(), key=lambda note: note.finished)
    last = in_time[-1]

    def all_of(values: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(values))

    return Made(
        commits=all_of(note.commit for note in in_time),
        versions={name: ", ".join(all_of(note.versions[name] for note in in_time)) for name in last.versions},
        machine="; ".join(all_of(note.machine for note in in_time)),
        processes=last.processes,
        process_seconds={name: note.seconds for name, note in notes.items()},
        finished=last.finished[:10],
    )
