import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.predictions_file import write_predictions
from lit_listener.study.design import Arm, Design
from lit_listener.study.jobs import Job, jobs_of
from lit_listener.study.reading import read_study
from lit_listener.study.running import Note

ROW = Prediction(
    pair_id="p0",
    prompt_id="one red star",
    prompt="one red star",
    rollout=0,
    first="a",
    label=0,
    answer=0,
    outcome="ok",
    p_second=0.25,
    listener_p_second=None,
    listener_p_correct=None,
    contradicts=False,
    stated_verdict=0,
    length=9,
    truncated=False,
    trace="the first is better.",
    share_a=0.75,
    generator_a="flat",
    generator_b="paper",
    source="held_in",
)
NOTE = Note(60.0, True, "", "abc", {"torch": "2.13.0"}, "x86_64, 2 cores", 2, "2026-01-02 03:04")
DESIGN = Design("A study", [0, 1], [Arm("start", "Start", [], trained=False), Arm("grpo", "GRPO", [])], [], [])


def keep(root: Path, job: Job, note: Note, rows: list[Prediction]) -> None:
    file = root / "notes" / f"{job.name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(replace(note, fingerprint=job.fingerprint()))))
    if job.name.endswith("test"):
        write_predictions(rows, job.product)


def finished(root: Path) -> dict[str, Job]:
    """A study in which each judge answers with its own probability."""
    jobs = {job.name: job for job in jobs_of(DESIGN, root)}
    for place, job in enumerate(jobs.values()):
        rows = [replace(ROW, p_second=place / 10), replace(ROW, pair_id="p1", source="held_out", p_second=place / 10)]
        keep(root, job, replace(NOTE, seconds=float(place), finished=f"2026-01-0{place + 1} 00:00"), rows)
    return jobs


def test_a_finished_study_is_read_by_arm_seed_and_source(tmp_path: Path) -> None:
    jobs = finished(tmp_path)
    study = read_study(DESIGN, tmp_path)
    # in order: a test of start, a fit and a test of grpo, of seed 0 and then of seed 1
    assert study.sources == ("held_in", "held_out")
    assert [[row.p_second for row in rows] for rows in study.arms["start"].on("held_in")] == [[0.0], [0.3]]
    assert [[row.p_second for row in rows] for rows in study.arms["grpo"].on("held_out")] == [[0.2], [0.5]]
    assert study.made.process_seconds == {name: float(place) for place, name in enumerate(jobs)}
    assert study.made.finished == "2026-01-06"
    assert study.made.commits == ("abc",)


def test_commits_are_told_in_order_of_time(tmp_path: Path) -> None:
    jobs = finished(tmp_path)
    keep(
        tmp_path,
        jobs["arms/start/seed0/test"],
        replace(NOTE, commit="old", finished="2025-12-31 00:00"),
        [ROW, replace(ROW, pair_id="p1", source="held_out")],
    )
    assert read_study(DESIGN, tmp_path).made.commits == ("old", "abc")


def test_a_run_that_is_not_done_is_told(tmp_path: Path) -> None:
    jobs = finished(tmp_path)
    keep(tmp_path, jobs["arms/grpo/seed1/fit"], replace(NOTE, done=False), [])
    with pytest.raises(FileNotFoundError, match=r"arms/grpo/seed1/fit of the study in .* is not done: start the study"):
        read_study(DESIGN, tmp_path)


def test_judges_of_other_pairs_are_not_compared(tmp_path: Path) -> None:
    jobs = finished(tmp_path)
    keep(tmp_path, jobs["arms/grpo/seed1/test"], NOTE, [ROW])
    with pytest.raises(ValueError, match=r"arm grpo \(run 1\) judged other pairs than arm start"):
        read_study(DESIGN, tmp_path)
