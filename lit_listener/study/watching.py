"""How a study goes on, in the terminal: a bar, what runs now, and a line for each run that has ended."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class ProgressWatch:
    """A progress bar over the runs of a study; a context manager. A file gets the lines alone.

    Args:
        console: where to show it.
    """

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("Study"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._console = console
        self._task = self._progress.add_task("", total=None)
        self._running: list[str] = []
        self._total = self._done = 0

    def __enter__(self) -> "ProgressWatch":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, total: int, done: int) -> None:
        """So many jobs there are, and so many were done before."""
        self._total, self._done = total, done
        self._show()
        if done:
            self._tell(f"{done} of {total} runs are done already")

    def started(self, name: str) -> None:
        """A job runs."""
        self._running.append(name)
        self._show()

    def ended(self, name: str, seconds: float, *, failed: bool) -> None:
        """A job runs no more, after so many seconds of all its starts."""
        self._running.remove(name)
        self._done += not failed
        self._show()
        self._tell(f"[{self._done}/{self._total}] {name}: {'failed after ' if failed else ''}{minutes(seconds)}")

    def _show(self) -> None:
        self._progress.update(self._task, total=self._total, completed=self._done, description=", ".join(self._running))

    def _tell(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def minutes(seconds: float) -> str:
    """Minutes and seconds: "2:05 min"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
