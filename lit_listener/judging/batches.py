"""Showings are thought about in batches; none of their thoughts depends on the batch.

On a GPU one batch follows another. On a CPU two go side by side: the operations on a batch are too small to be worth
sharing between cores, and a whole batch is not (the measurement is in ``benchmarks/README.md``).
"""

import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from lit_listener.judging.thoughts import Showing, Thought

Done = TypeVar("Done")
Think = Callable[[Sequence[Showing], int, bool], list[list[Thought]]]
"""Thinks about different showings, each as often as the number says, with somebody listening or not."""
_WORTHWHILE = 16
"""Completions of a batch: fewer are not dealt out any further."""
_SMALL = 100_000_000
"""Parameters."""


def usual_size(parameters: int) -> int:
    """Completions of a batch where nobody says: a model so small that a step is over before it was worth it takes more.

    Args:
        parameters: of the model.
    """
    return 128 if parameters < _SMALL else 32


def batches_at_once(device: torch.device) -> int:
    """How many batches are best computed at the same time: two on a CPU with cores for them."""
    return min(2, torch.get_num_threads()) if device.type == "cpu" else 1


def _workers(count: int) -> ThreadPoolExecutor:
    """Threads that share the cores that PyTorch computes with; with all cores to each they would wait on each other."""
    if count == 1:
        return ThreadPoolExecutor(1, thread_name_prefix="judge")
    cores = torch.get_num_threads()
    started = threading.Barrier(count)

    def take_share() -> None:
        torch.get_num_threads()  # has PyTorch set this thread up, which it would else do later, and undo what follows
        torch.set_num_threads(max(1, cores // count))

    workers = ThreadPoolExecutor(count, thread_name_prefix="judge", initializer=take_share)
    for waiting in [workers.submit(started.wait) for _ in range(count)]:
        waiting.result()
    torch.set_num_threads(cores)  # for threads that others start from here on
    return workers


class Batches:
    """Thinks about showings in batches.

    Args:
        think: does it for one batch.
        size: most completions of a batch; at least 1. A showing with more is a batch of its own. Halved where a GPU
            runs out of memory.
        at_once: batches that are computed at the same time, whichever threads ask.

    Raises:
        ValueError: the size is below 1.
    """

    def __init__(self, think: Think, size: int, *, at_once: int = 1) -> None:
        if size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {size}")
        self.size = size
        self._think = think
        self.at_once = at_once
        self._workers = _workers(at_once)
        self._shrinking = threading.Lock()

    def thoughts(self, showings: Iterable[Showing]) -> Iterator[list[list[Thought]]]:
        """The thoughts about each showing, in order, some at a time.

        Showings are taken as they are needed, a batch ahead of those that are being computed.

        Raises:
            Exception: what the source of showings raised, once all that came before it has been thought about.
        """
        running: deque[Future[list[list[Thought]]]] = deque()
        failure: Exception | None = None
        batches = self._cut(showings)
        try:
            while failure is None:
                try:
                    running.append(self._workers.submit(self._answered, next(batches)))
                except StopIteration:
                    break
                except Exception as error:  # whatever a source of showings raises: what came before it is not lost
                    failure = error
                if len(running) > self.at_once:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:  # of what is not wanted any more, nothing is begun
            for batch in running:
                batch.cancel()
        if failure is not None:
            raise failure

    def in_turn(self, work: Callable[[], Done]) -> Done:
        """Do other work with the model where batches are computed, so that no more of either go side by side."""
        return self._workers.submit(work).result()

    def _cut(self, showings: Iterable[Showing]) -> Iterator[list[Showing]]:
        size = self.size
        if isinstance(showings, Sequence):  # all are known: no worker shall be without
            share = -(-sum(showing.rollouts for showing in showings) // self.at_once)
            size = min(size, max(_WORTHWHILE, share))
        batch: list[Showing] = []
        try:
            for showing in showings:
                if batch and sum(each.rollouts for each in batch) + showing.rollouts > size:
                    yield batch
                    batch = []
                batch.append(showing)
        except Exception:  # the next one cannot be had
            if batch:
                yield batch
            raise
        if batch:
            yield batch

    def _answered(self, batch: Sequence[Showing]) -> list[list[Thought]]:
        """Each showing's thoughts; begun again in halves where memory does not suffice."""
        try:
            return self._distinct(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
        # not in the handler: the error keeps the frames of the batch that failed, and they its tensors
        torch.cuda.empty_cache()
        with self._shrinking:
            smaller = max(1, sum(showing.rollouts for showing in batch) // 2)
            if smaller < self.size:
                warnings.warn(f"out of memory: batch_size is lowered from {self.size} to {smaller}", stacklevel=2)
                self.size = smaller
        middle = len(batch) // 2
        return [*self._answered(batch[:middle]), *self._answered(batch[middle:])]

    def _distinct(self, batch: Sequence[Showing]) -> list[list[Thought]]:
        """Each showing's thoughts; what is shown twice is thought about once."""
        names = [(showing.key, showing.rollouts, showing.listen) for showing in batch]
        kinds: dict[tuple[int, bool], dict[tuple[Any, ...], Showing]] = {}
        for name, showing in zip(names, batch, strict=True):
            kinds.setdefault((showing.rollouts, showing.listen), {}).setdefault(name, showing)
        found = {
            name: thoughts
            for (rollouts, listen), distinct in kinds.items()
            for name, thoughts in zip(distinct, self._think(list(distinct.values()), rollouts, listen), strict=True)
        }
        return [found[name] for name in names]
