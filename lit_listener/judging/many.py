"""Many requests: answered in their order, in batches that go across them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from lit_listener.judging.plans import Plan
from lit_listener.judging.requests import Request
from lit_listener.judging.thoughts import Showing, Thought

Result = TypeVar("Result")


def answered(
    requests: Iterable[Request[Result]],
    planned: Callable[[Request[Result]], Plan[Result]],
    think: Callable[[Iterable[Showing]], Iterator[list[list[Thought]]]],
) -> Iterator[Result]:
    """Answer requests, taking each when its turn comes.

    Args:
        requests: what is asked.
        planned: checks a request and says what is to be thought about.
        think: gives the thoughts about displayed pairs, in their order, some at a time.

    Yields:
        the result of each request, in their order.

    Raises:
        FileNotFoundError: an image file is not there; what was asked before is answered first.
        ValueError: a request cannot be answered, likewise; the message tells which, counted from 0.
    """
    waiting: deque[Plan[Result]] = deque()
    done: deque[list[Thought]] = deque()

    def showings() -> Iterator[Showing]:
        for place, request in enumerate(requests):
            plan = _named(planned, request, place)
            waiting.append(plan)
            yield from plan.showings

    def concluded() -> Iterator[Result]:
        while waiting and len(waiting[0].showings) <= len(done):
            plan = waiting.popleft()
            yield plan.conclude([done.popleft() for _ in plan.showings])

    for thoughts in think(showings()):
        done.extend(thoughts)
        yield from concluded()
    yield from concluded()  # those that took no thought


def parts(given: Any, expected: str, count: int) -> Sequence[Any]:
    """One of many, checked: a call's own arguments are easily mistaken for it.

    Args:
        given: what should be a tuple or list.
        expected: of what, for the message.
        count: of how many.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(given, tuple | list) or len(given) != count:
        shown = f"{len(given)} of {type(given).__name__}" if isinstance(given, tuple | list) else type(given).__name__
        raise TypeError(f"expected a list of {expected}, but one of its members is {shown}")
    return given


def with_progress(results: Iterator[Result], total: int, doing: str, *, shown: bool) -> list[Result]:
    """All results; where they are waited for in a terminal, behind a progress bar on the error output."""
    console = Console(stderr=True)
    shown = shown and console.is_terminal
    return list(track(results, doing, total, console=console, transient=True, disable=not shown))


def _named(planned: Callable[[Request[Result]], Plan[Result]], request: Request[Result], place: int) -> Plan[Result]:
    try:
        return planned(request)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"number {place}: {error}") from error
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"number {place}: {error}") from error
