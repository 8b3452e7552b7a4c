import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lit_listener.study.jobs import Job
from lit_listener.study.running import _Running, commit, note_of, run_jobs
from lit_listener.study.sole_user import sole_user

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


def wait_for_start(root: Path, name: str) -> None:
    begun = root / name / "begun"
    while not (begun.exists() and begun.read_text()):  # a line that is not written yet would be lost with the process
        time.sleep(0.01)


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
        wait_for_start(tmp_path, "slow")
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


def test_what_was_made_of_something_that_is_made_anew_is_not_kept(tmp_path: Path) -> None:
    jobs = (job(tmp_path, "fit"), job(tmp_path, "test", needs=("fit",)))
    run(tmp_path, *jobs)
    shutil.rmtree(tmp_path / "fit")
    with pytest.raises(ValueError, match=r"test in .* is done, but not fit, of which it was made; delete .*test and "):
        run(tmp_path, *jobs)
    assert not (tmp_path / "fit").exists()


def test_a_folder_has_one_study_at_a_time(tmp_path: Path) -> None:
    with sole_user(tmp_path), pytest.raises(BlockingIOError, match=r"a study runs in .*: wait until they have ended"):
        run(tmp_path, job(tmp_path, "fit"))
    assert run(tmp_path, job(tmp_path, "fit")) == ["0 of 1", "start fit", "end fit"]


def test_runs_that_outlive_their_study_keep_its_folder(tmp_path: Path) -> None:
    slow = job(tmp_path, "slow", "wait")
    with sole_user(tmp_path) as lock:
        left_behind = _Running(slow, tmp_path, 1, WORKER, lock)
    # The study has let go of its own file, as one does that is killed outright; its run goes on.
    try:
        wait_for_start(tmp_path, "slow")
        with pytest.raises(BlockingIOError, match="or runs of one that was killed still do"):
            run(tmp_path, slow)
    finally:
        left_behind.process.kill()
        left_behind.process.wait()
    run(tmp_path, slow)
    assert starts(tmp_path, "slow") == ["fresh", "resumed"]


@pytest.mark.skipif(shutil.which("git") is None, reason="asks git")
def test_the_commit_tells_of_all_of_the_package_and_its_configs(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false")
        return subprocess.run(["git", *who, *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    files = [tmp_path / name for name in ("package/training/steps.py", "configs/grpo.yaml", "README.md")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("one")
    assert commit(tmp_path / "package") == "unknown"  # no repository
    git("init", "-q")
    git("add", "configs", "README.md")
    git("commit", "-q", "-m", "Begin")
    assert commit(tmp_path / "package") == "unknown"  # a repository of somebody else's, which does not track it
    git("add", ".")
    git("commit", "-q", "-m", "Package")
    at = git("rev-parse", "--short=12", "HEAD").strip()
    for file, told in zip(files, (f"{at}+", f"{at}+", at), strict=True):
        assert commit(tmp_path / "package") == at
        file.write_text("two")
        assert commit(tmp_path / "package") == told
        file.write_text("one")
