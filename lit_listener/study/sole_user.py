"""One study at a time in a folder: a second one would delete and overwrite the runs of the first.

The lock is the system's, on an open file (flock), and goes with the last process that has the file open, however that
one ends. Runs inherit it: where a study was killed outright, the runs that it left behind hold the folder until they
have ended.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def sole_user(root: Path) -> Iterator[int]:
    """Hold a study's folder, which is made if missing.

    Args:
        root: the folder.

    Yields:
        The file descriptor that runs have to inherit.

    Raises:
        BlockingIOError: somebody else holds it.
    """
    import fcntl  # noqa: PLC0415  # Windows has none, and other commands shall run there

    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"a study runs in {root}, or runs of one that was killed still do: wait until they have ended, or name "
                "another --run_dir"
            ) from None
        yield file.fileno()
