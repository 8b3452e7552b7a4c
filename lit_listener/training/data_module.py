"""The data of a run: one source to train on, named sources to validate and test on."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import lightning
from torchdata.stateful_dataloader import StatefulDataLoader

from lit_listener.data.order import EpochOrder, Orders, ShownPairs
from lit_listener.data.records import Demonstration, Demonstrator, PairSource, ShownPair

Record = TypeVar("Record")


class PreferenceData(lightning.LightningDataModule):
    """Batches of shown pairs, in a seeded and balanced display order.

    Args:
        train: the pairs trained on.
        validation: pairs validated on, by name ("held_in").
        test: pairs tested on, by name.
        traces: writes a demonstration for each training pair; needed by supervised fine-tuning only.
        batch_size: pairs (prompts) a step, over all processes together: more GPUs make the same step faster.
        eval_batch_size: pairs a batch in validation and test, on each process.
        eval_orders: balanced shows each pair of validation and test once; both shows it in both display orders.
        num_workers: processes that load pairs; 0 loads in the main process.
        seed: seed of shuffle and display order.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # one option each keeps a config flat
        self,
        train: PairSource | None = None,
        validation: dict[str, PairSource] | None = None,
        test: dict[str, PairSource] | None = None,
        traces: Demonstrator | None = None,
        batch_size: int = 16,
        eval_batch_size: int = 64,
        eval_orders: Orders = "balanced",
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value < 1:
                raise ValueError(f"data.{name}: expected at least 1 pair, got {value}")
        self.train = train
        self.validation = validation or {}
        self.test = test or {}
        self.traces = traces
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.eval_orders: Orders = eval_orders
        self.num_workers = num_workers
        self.seed = seed

    def train_dataloader(self) -> StatefulDataLoader:
        """Training batches; the loader's position is part of a checkpoint."""
        if self.train is None:
            raise ValueError("data.train: nothing to train on; name a source of pairs")
        collate = partial(_demonstrate, self.traces) if self.traces else _as_they_are
        ranks = self._ranks()[1]
        if self.batch_size % ranks:
            raise ValueError(
                f"data.batch_size: {self.batch_size} pairs a step cannot be shared evenly by {ranks} processes; choose "
                f"a multiple of {ranks}"
            )
        return self._loader(self.train, self.batch_size // ranks, shuffle=True, collate=collate)

    def val_dataloader(self) -> list[StatefulDataLoader]:
        """One loader a validation source."""
        return [self._loader(pairs, self.eval_batch_size) for pairs in self.validation.values()]

    def test_dataloader(self) -> list[StatefulDataLoader]:
        """One loader a test source."""
        return [self._loader(pairs, self.eval_batch_size) for pairs in self.test.values()]

    def predict_dataloader(self) -> list[StatefulDataLoader]:
        """The test sources again."""
        return self.test_dataloader()

    def _loader(
        self,
        pairs: PairSource,
        batch_size: int,
        *,
        shuffle: bool = False,
        collate: Callable[[list[ShownPair]], list[Any]] | None = None,
    ) -> StatefulDataLoader:
        rank, ranks = self._ranks()
        order = EpochOrder(
            len(pairs),
            self.seed,
            shuffle=shuffle,
            rank=rank,
            ranks=ranks,
            orders="balanced" if shuffle else self.eval_orders,
        )
        return StatefulDataLoader(
            ShownPairs(pairs),
            batch_size=batch_size,
            sampler=order,
            num_workers=self.num_workers,
            drop_last=shuffle and len(order) >= batch_size,
            collate_fn=collate or _as_they_are,
        )

    def _ranks(self) -> tuple[int, int]:
        """This process's rank, and how many processes there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def _as_they_are(batch: list[Record]) -> list[Record]:
    return batch


def _demonstrate(traces: Demonstrator, batch: list[ShownPair]) -> list[Demonstration]:
    return [traces(shown) for shown in batch]
