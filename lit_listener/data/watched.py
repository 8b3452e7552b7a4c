"""Long looks at a data set: several pairs at a time, a few in memory, and a bar that tells how far it is."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Found = TypeVar("Found")
_AT_ONCE = 256


def watched(find: Callable[[int], Found], places: Sequence[int], what: str) -> Iterator[Found]:
    """What is found at each place of a data set, in turn; a terminal shows a progress bar on standard error.

    Args:
        find: Looks at one place; called in threads, since image decoders let others run. Should give back what is
            needed of a pair, not the pair: a few hundred of its answers are held at a time.
        places: The places, from 0.
        what: What is done, in a few words for the bar.
    """
    console = Console(stderr=True)
    chunks = range(0, len(places), _AT_ONCE)

    def found() -> Iterator[Found]:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for start in chunks:
                yield from pool.map(find, places[start : start + _AT_ONCE])

    yield from track(found(), what, len(places), console=console, transient=True, disable=not console.is_terminal)
