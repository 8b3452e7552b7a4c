"""Two processes that take turns, so that both sides of a pair of steps run under the same weather.

A worker is started fresh. It builds its trainer, then waits at the end of every step for the parent's word: one step
of ours, one of theirs, and so on, while the other process sleeps. They talk in lines of JSON; whatever libraries print
goes to the worker's log.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parent.parent
_TAIL_LINES = 25


class WorkerDiedError(RuntimeError):
    """A worker ended before it was told to."""


class Link:
    """A worker's end: standard input and output are its own, and prints go to standard error instead."""

    def __init__(self) -> None:
        self._words: TextIO = os.fdopen(os.dup(0), "r")
        self._answers: TextIO = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # also for what is printed by code that is not Python

    def wait(self) -> bool:
        """Sleep until the parent's word. Returns whether another step is wanted."""
        word = self._words.readline().strip()
        if word not in ("step", "stop"):
            raise RuntimeError(f"expected the parent's word 'step' or 'stop', got {word!r}: the parent has died")
        return word == "step"

    def tell(self, message: dict[str, Any]) -> None:
        """Answer the parent."""
        self._answers.write(json.dumps(message) + "\n")
        self._answers.flush()


class Worker:
    """The parent's end of one worker process.

    Args:
        module: what is run, as ``python -m module job``.
        job: its argument.
        log: where everything it prints goes.
    """

    def __init__(self, module: str, job: str, log: Path) -> None:
        self.module = module
        self.log = log
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with log.open("w") as prints:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, job],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=prints,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )

    def answer(self) -> dict[str, Any]:
        """Wait for its next message.

        Raises:
            WorkerDiedError: it ended instead; the message holds the end of its log.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
            raise WorkerDiedError(
                f"{self.module} ended with status {status} where a step was expected; no figure is made of it. "
                f"The end of its log ({self.log}):\n{tail}"
            )
        message: dict[str, Any] = json.loads(line)
        return message

    def say(self, word: str) -> dict[str, Any]:
        """Tell it ``step`` or ``stop``, and wait for its answer.

        Raises:
            WorkerDiedError: it ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # ``answer`` tells why
        return self.answer()

    def close(self) -> None:
        """End it, if it has not ended, and wait until its memory is free."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def alternate(
    workers: list[Worker], pairs: int, warm_up: int
) -> tuple[list[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Let workers take turns.

    Args:
        workers: one or two, started by now and still building.
        pairs: steps of each that are kept.
        warm_up: steps of each before them.

    Returns:
        for each worker its steps, in order; and for each worker what it said at its end.
    """
    for worker in workers:
        worker.answer()  # ready
    steps: list[list[dict[str, Any]]] = [[] for _ in workers]
    for turn in range(warm_up + pairs):
        for worker, kept in zip(workers, steps, strict=True):
            taken = worker.say("step")
            if turn >= warm_up:
                kept.append(taken)
    return steps, [worker.say("stop") for worker in workers]
