"""Runs the jobs of a study, several at a time, and keeps for each what it took and what it was made with.

A job that is done leaves a note and is never run again; one that was broken off is gone on with from its own last
checkpoint. So a study may be stopped at any time, by Ctrl-C or by a machine that goes down, and started again; never
twice at a time (``sole_user``).
"""

import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Protocol

from lit_listener.evaluation.replaced_file import replaced_file
from lit_listener.study.jobs import Job
from lit_listener.study.sole_user import sole_user

LIBRARIES = ("lit_listener", "torch", "transformers", "lightning")
COMMAND_LINE = (sys.executable, "-m", "lit_listener")
_WAIT_S = 0.2
"""Seconds between two looks at the running jobs."""


@dataclass(frozen=True)
class Note:
    """What is kept of a job."""

    seconds: float
    """Wall time of all its starts."""
    done: bool
    fingerprint: str
    """Of its command and configs."""
    commit: str
    """The commit it was last started with, with a plus where files differed from it; "unknown" outside a repository."""
    versions: Mapping[str, str]
    machine: str
    processes: int
    """How many jobs ran at a time."""
    finished: str
    """When it ended, in UTC, as YYYY-MM-DD HH:MM."""


def note_of(root: Path, job: Job) -> Note | None:
    """What is kept of a job in a study's folder; None where it was never begun."""
    path = _note_file(root, job)
    return Note(**json.loads(path.read_text())) if path.is_file() else None


class Watch(Protocol):
    """Is told how a study goes on."""

    def begin(self, total: int, done: int) -> None:
        """So many jobs there are, and so many were done before."""

    def started(self, name: str) -> None:
        """A job runs."""

    def ended(self, name: str, seconds: float, *, failed: bool) -> None:
        """A job runs no more, after so many seconds of all its starts."""


def run_jobs(
    jobs: Sequence[Job], root: Path, processes: int, watch: Watch, program: Sequence[str] = COMMAND_LINE
) -> None:
    """Run all jobs that are not done.

    Args:
        jobs: each behind those that it needs.
        root: the study's folder.
        processes: how many run at a time; the machine's cores are shared between them.
        watch: is told of each job that starts or ends.
        program: what a job's command is given to.

    Raises:
        BlockingIOError: another study runs in the folder, or runs that it left behind do.
        ValueError: a job in the folder was made with another command, with configs that have changed since, or of what
            is not there any more.
        ChildProcessError: a job failed; the jobs that ran beside it were let to end.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; every running job has stopped with a checkpoint.
    """
    running: list[_Running] = []
    failed: list[_Running] = []
    with _stop_signals(), sole_user(root) as lock:
        done = _done(root, jobs)
        waiting = [job for job in jobs if job.name not in done]
        watch.begin(len(jobs), len(done))
        try:
            while running or (waiting and not failed):
                ready = [] if failed else [job for job in waiting if done.issuperset(job.needs)]
                for job in ready[: processes - len(running)]:
                    waiting.remove(job)
                    running.append(_Running(job, root, processes, program, lock))
                    watch.started(job.name)
                time.sleep(_WAIT_S)
                for each in [each for each in running if each.ended]:
                    running.remove(each)
                    each.keep_note(done=each.succeeded)
                    watch.ended(each.job.name, each.seconds, failed=not each.succeeded)
                    if each.succeeded:
                        done.add(each.job.name)
                    else:
                        failed.append(each)
        finally:
            for each in running:  # none, unless something was raised
                each.ask_to_stop()
            for each in running:
                each.process.wait()
                each.keep_note(done=False)  # though it may have ended just now: going on with it will tell
    if failed:
        words = "\n".join(failed[0].log.read_text(errors="replace").splitlines()[-15:])
        raise ChildProcessError(
            f"{failed[0].job.name} failed (status {failed[0].process.returncode}); {failed[0].log} ends with\n{words}\n"
            "What is done is kept: mend the cause, and start the study again in the same folder"
        )


def _is_done(root: Path, job: Job) -> bool:
    note = note_of(root, job)
    if note is not None and note.fingerprint != job.fingerprint():
        raise ValueError(
            f"{job.name} in {root} was made with another command, or its configs have changed since; name a new "
            f"--run_dir, or delete {job.folder} and {_note_file(root, job)} to make it anew"
        )
    return note is not None and note.done and job.product.exists()


def _done(root: Path, jobs: Sequence[Job]) -> set[str]:
    """Names of the jobs that are done."""
    done = {job.name for job in jobs if _is_done(root, job)}
    for job in jobs:
        if job.name in done and (missing := sorted(set(job.needs) - done)):
            raise ValueError(
                f"{job.name} in {root} is done, but not {', '.join(missing)}, of which it was made; delete "
                f"{job.folder} and {_note_file(root, job)} to make both anew"
            )
    return done


class _Running:
    """A job's process; it holds the study's folder for as long as it runs."""

    def __init__(self, job: Job, root: Path, processes: int, program: Sequence[str], lock: int) -> None:
        self.job, self.root, self.processes = job, root, processes
        self._commit = commit()  # what is checked out may be another one when it ends
        before = note_of(root, job)
        self._before = before.seconds if before else 0.0
        self._began = time.monotonic()
        self.log = root / "logs" / f"{job.name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*program, *job.next_command()],
                env={**os.environ, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches it once, from here
                pass_fds=(lock,),
            )

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def succeeded(self) -> bool:
        return self.process.returncode == 0 and self.job.product.exists()

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def ask_to_stop(self) -> None:
        """Let it write its checkpoint and end."""
        if not self.ended:
            self.process.send_signal(signal.SIGTERM)

    def keep_note(self, *, done: bool) -> None:
        note = Note(
            seconds=round(self.seconds, 2),
            done=done,
            fingerprint=self.job.fingerprint(),
            commit=self._commit,
            versions={
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in LIBRARIES},
            },
            machine=f"{platform.machine()}, {os.cpu_count()} cores",
            processes=self.processes,
            finished=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        )
        with replaced_file(_note_file(self.root, self.job)) as beside:
            beside.write_text(json.dumps(asdict(note), indent=1))


def commit(package: Path = Path(__file__).parent.parent) -> str:
    """The commit of the code that runs, with a plus where tracked files differ; "unknown" outside a repository.

    Args:
        package: its folder, beside which configs stand; one that is merely installed within somebody's repository, and
            not tracked there, is of no commit.
    """

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=package, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", ".")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", "../configs")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@contextmanager
def _stop_signals() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _note_file(root: Path, job: Job) -> Path:
    return root / "notes" / f"{job.name}.json"
