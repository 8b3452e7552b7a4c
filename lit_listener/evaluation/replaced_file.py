"""Files that are there whole or not at all: written beside their place, then moved into it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Give a place beside ``path`` to write to, and move what was written to ``path`` if nothing was raised.

    Missing parent folders are made. After an exception ``path`` is as it was, and nothing is left beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two processes from writing to one place; the move is atomic within a folder.
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
