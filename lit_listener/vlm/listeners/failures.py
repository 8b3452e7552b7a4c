"""How a listener that cannot be asked ends a run: on every rank at once, with nothing of the step half done."""

from lit_listener.vlm import ranks
from lit_listener.vlm.stopping import StopRequested


class ListenerFailedError(ConnectionError):
    """A listener cannot be asked, and no number stands in for its word.

    Every rank raises it at the same place, so that a checkpoint of the last whole step can be written together.
    """


def end_together(failure: ListenerFailedError | None, *, stopped: bool = False) -> None:
    """Go on if every rank has heard; else end on all of them.

    To be called by all ranks, the same number of times.

    Args:
        failure: what befell this rank; None for nothing.
        stopped: whether this rank gave up waiting because the run was asked to stop.

    Raises:
        ListenerFailedError: the listener of some rank failed.
        StopRequested: no listener failed, and some rank was asked to stop while it waited.
    """
    if ranks.any_rank(failure is not None):
        raise failure or ListenerFailedError(
            f"the listener of another process failed, and rank {ranks.rank()} stops with it: its own message tells why"
        )
    if ranks.any_rank(stopped):
        raise StopRequested
