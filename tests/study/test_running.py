import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from lit_listener.study.jobs import Job
from lit_listener.study.running import note_of, run_jobs

WORKER = (sys.executable, str(Path(__file__).with_name("worker.py")))


class Watched:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def begin(self, total: int, done: int) -> None:
        self.told.append(f"{done} of {total}")

    def started(self, name: str) -> None:
        self.told.append(f"start {name}")

    def ended(self, name: str, seconds: float, *, failed: bool) -> None:
        assert seconds >= 0
        self.told.append(f"{'fail' if failed else 'end'} {name}")


def job(root: Path, name: str, *how: str, needs: tuple[str, ...] = (), configs: tuple[Path, ...] = ()) -> Job:
    folder = root / name
    return Job(name, folder, ("write", str(folder), *how), folder / "begun", folder / "product", configs, needs)


def run(root: Path, *jobs: Job, processes: int = 2) -> list[str]:
    watched = Watched()
    run_jobs(jobs, root, processes, watched, WORKER)
    return watched.told


def starts(root: Path, name: str) -> list[str]:
    return (root / name / "begun").read_text().split()


def test_a_job_waits_for_those_it_needs_and_is_done_once(tmp_path: Path) -> None:
    jobs = (job(tmp_path, "test", needs=("fit",)), job(tmp_path, "fit"))
    assert run(tmp_path, *jobs) == ["0 of 2", "start fit", "end fit", "start test", "end test"]
    assert run(tmp_path, *jobs) == ["2 of 2"]
    assert starts(tmp_path, "test") == ["fresh"]
    note = note_of(tmp_path, jobs[0])
    assert note is not None
    assert note.done
    assert note.processes == 2
    assert note.seconds > 0
    assert set(note.versions) >= {"python", "torch", "lit_listener"}


def test_no_more_run_at_a_time_than_asked_for(tmp_path: Path) -> None:
    told = run(tmp_path, *(job(tmp_path, name) for name in "abc"), processes=1)
    assert told[1:] == [f"{what} {name}" for name in "abc" for what in ("start", "end")]


def test_a_failure_ends_the_study_with_the_jobs_last_words_and_keeps_the_rest(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "good"), job(tmp_path, "bad", "fail"), job(tmp_path, "never", needs=("bad",))]
    with pytest.raises(ChildProcessError, match=r"bad failed \(status 1\); .*bad\.log ends with\nno such data\n"):
        run(tmp_path, *jobs)
    assert (tmp_path / "good" / "product").exists()
    assert not (tmp_path / "never").exists()
    assert run(tmp_path, jobs[0]) == ["1 of 1"]


def test_what_was_stopped_is_gone_on_with_and_its_time_is_added_up(tmp_path: Path) -> None:
    slow = job(tmp_path, "slow", "wait")
    handled_by = signal.getsignal(signal.SIGTERM)

    def stop() -> None:
        while not (tmp_path / "slow" / "begun").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, slow)
    stopper.join()
    before = note_of(tmp_path, slow)
    assert before is not None
    assert not before.done
    assert signal.getsignal(signal.SIGTERM) is handled_by

    run(tmp_path, slow)
    after = note_of(tmp_path, slow)
    assert after is not None
    assert after.done
    assert after.seconds > before.seconds
    assert starts(tmp_path, "slow") == ["fresh", "resumed"]


def test_what_never_got_anywhere_is_started_afresh(tmp_path: Path) -> None:
    (tmp_path / "fit").mkdir()
    (tmp_path / "fit" / "config.yaml").write_text("seed: 1")
    run(tmp_path, job(tmp_path, "fit"))
    assert starts(tmp_path, "fit") == ["fresh"]
    assert not (tmp_path / "fit" / "config.yaml").exists()


def test_an_end_without_its_product_is_a_failure(tmp_path: Path) -> None:
    hollow = job(tmp_path, "hollow")
    with pytest.raises(ChildProcessError, match=r"hollow failed \(status 0\)"):
        run(tmp_path, Job("hollow", hollow.folder, hollow.command, hollow.begun, tmp_path / "elsewhere", ()))


def test_runs_of_other_configs_are_not_mixed(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("lr: 1")
    fit = job(tmp_path, "fit", configs=(config,))
    run(tmp_path, fit)
    config.write_text("lr: 2")
    with pytest.raises(ValueError, match=r"fit in .* was made with another command, or its configs have changed since"):
        run(tmp_path, fit)
