"""The data of a run: one source to train on, named sources to validate and test on."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, TypeVar

import lightning
from lightning.pytorch.utilities import rank_zero_info
from PIL.Image import Image
from torchdata.stateful_dataloader import StatefulDataLoader

from lit_listener.data.curriculum import Curriculum, WideningWindow
from lit_listener.data.order import EpochOrder, Orders, TrainingSource, shown_items
from lit_listener.data.overlap import normalised
from lit_listener.data.records import PairSource
from lit_listener.data.shown import Demonstration, Demonstrator, Shown, ShownPair
from lit_listener.data.sources.kept_pairs import KeptPairs
from lit_listener.data.units import AnchorUnits, ListProtocol, PairUnits, ShownUnits, UnitOrder, Units, pending_units
from lit_listener.data.watched import watched
from lit_listener.evaluation.prediction import Prediction

Record = TypeVar("Record")
_MANY = 50_000
"""Training pairs whose prompts take seconds to read."""


class PreferenceData(lightning.LightningDataModule):
    """Batches of shown pairs, in a seeded and balanced display order.

    Args:
        train: the pairs trained on; for tasks that ask about one image or about lists: rated images, or ranked lists.
        validation: pairs validated on, by name ("held_in").
        test: pairs tested on, by name.
        traces: writes a demonstration for each training pair; needed by supervised fine-tuning on traces only. One that
            has traces of some pairs alone leaves out the others.
        batch_size: pairs (prompts) a step, over all processes together: more GPUs make the same step faster.
        eval_batch_size: shown pairs a batch in validation and test, on each process; a pair in both orders is two.
        eval_orders: balanced shows each pair of validation and test once; both shows it in both display orders.
        eval_lists: in test, how ranked lists are judged: pairs compares every two images of a list; anchor compares
            each image with an anchor alone, N - 1 comparisons for N images.
        anchors: anchors of each list, drawn by seed; every other image is compared with each of them.
        anchor: the one anchor of each list by its place in the list, from 0, or by its generator's name.
        check_overlap: in test, find out which test prompts are among those of ``train``, by their words.
        curriculum: brings the pairs that people agree on first; null brings all pairs in any order.
        num_workers: processes that load pairs; 0 loads in the main process.
        seed: seed of shuffle and display order.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # one option each keeps a config flat
        self,
        train: TrainingSource | None = None,
        validation: dict[str, PairSource] | None = None,
        test: dict[str, PairSource] | None = None,
        traces: Demonstrator | None = None,
        batch_size: int = 16,
        eval_batch_size: int = 64,
        eval_orders: Orders = "balanced",
        eval_lists: ListProtocol = "pairs",
        anchors: int = 1,
        anchor: int | str | None = None,
        check_overlap: bool = True,
        curriculum: Curriculum | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value < 1:
                raise ValueError(f"data.{name}: expected at least 1 pair, got {value}")
        if eval_lists == "pairs" and (anchors != 1 or anchor is not None):
            raise ValueError("data.anchors and data.anchor are for data.eval_lists: anchor; set it, or leave them out")
        self.train = _demonstrated(train, traces)
        self.validation = validation or {}
        self.test = test or {}
        self.traces = traces
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.eval_orders: Orders = eval_orders
        self.eval_lists: ListProtocol = eval_lists
        self.anchors = anchors
        self.anchor = anchor
        self.check_overlap = check_overlap
        self.judged: Mapping[str, Collection[int]] = {}
        """Places of each test source that were judged before, and are left out of its loader."""
        self.curriculum = curriculum
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
        """One loader a test source, of the units that are still to be judged."""
        rank, ranks = self._ranks()
        loaders = []
        for name in self.test:
            units = self.units(name)
            loaders.append(
                StatefulDataLoader(
                    ShownUnits(units),
                    batch_size=max(1, self.eval_batch_size // units.largest),
                    sampler=UnitOrder(pending_units(units, self.judged.get(name, ())), rank, ranks),
                    num_workers=self.num_workers,
                    collate_fn=_together,
                )
            )
        return loaders

    def units(self, source: str) -> Units:
        """What is judged in one piece of a test source.

        Raises:
            ValueError: anchors are asked for, but the source ranks no lists, or keeps some of their pairs only.
        """
        pairs = self.test[source]
        if self.eval_lists == "pairs":
            return PairUnits(pairs, self.seed, self.eval_orders)
        lists = pairs.ranked_lists()
        if lists is None:
            raise ValueError(
                f"data.eval_lists: anchor is for ranked lists, but data.test.{source} ({type(pairs).__name__}) has "
                "pairs alone; leave it at pairs"
            )
        return AnchorUnits(lists, self.seed, self.eval_orders, self.anchors, self.anchor)

    def images_of(self, row: Prediction) -> tuple[Image, Image]:
        """The two images, a and b, that a judgement of a test source is about.

        Raises:
            ValueError: the source has other pairs now.
        """
        pairs = self.test[row.source]
        if self.eval_lists == "anchor" and row.item_a is not None and row.item_b is not None:
            lists = pairs.ranked_lists()
            assert lists is not None
            ranked = lists[row.index]
            items = ranked.items or tuple(range(len(ranked.images)))  # bad rows leave gaps in the numbers
            pair = ranked.pair(items.index(row.item_a), items.index(row.item_b))
        else:
            pair = pairs[row.index]
        if pair.pair_id != row.pair_id:
            raise ValueError(f"data.test.{row.source}: pair {row.index} is {pair.pair_id} now, and was {row.pair_id}")
        return pair.image_a, pair.image_b

    def prompts_trained_on(self, prompts: Collection[str]) -> frozenset[str] | None:
        """Those of some prompts whose words are a training prompt's; None where that is not to be looked for."""
        if self.train is None or not self.check_overlap:
            return None
        wanted = {prompt: normalised(prompt) for prompt in prompts}
        missing = set(wanted.values())
        train = self.train
        if len(train) > _MANY:
            rank_zero_info(
                f"Looking for test prompts among {len(train):,} trained on (not with data.check_overlap: false)"
            )
        for prompt in watched(train.prompt, range(len(train)), "looking for test prompts among those trained on"):
            missing.discard(normalised(prompt))
            if not missing:
                break
        return frozenset(prompt for prompt, words in wanted.items() if words not in missing)

    def predict_dataloader(self) -> list[StatefulDataLoader]:
        """The test sources again."""
        return self.test_dataloader()

    def _loader(
        self,
        source: TrainingSource,
        batch_size: int,
        *,
        shuffle: bool = False,
        collate: Callable[[list[Shown]], list[Any]] | None = None,
    ) -> StatefulDataLoader:
        rank, ranks = self._ranks()
        curriculum = self._curriculum_of(source) if shuffle else None
        order = EpochOrder(
            len(source),
            self.seed,
            shuffle=shuffle,
            rank=rank,
            ranks=ranks,
            orders="balanced" if shuffle else self.eval_orders,
            curriculum=curriculum,
        )
        return StatefulDataLoader(
            shown_items(source),
            batch_size=batch_size,
            sampler=order,
            num_workers=self.num_workers,
            drop_last=shuffle and len(order) >= batch_size,
            collate_fn=collate or _as_they_are,
        )

    def _curriculum_of(self, source: TrainingSource) -> WideningWindow | None:
        """The order in which training goes through its pairs.

        Raises:
            ValueError: the source is none of pairs.
        """
        if self.curriculum is None:
            return None
        if not isinstance(source, PairSource):
            raise ValueError(  # noqa: TRY004  # an option is wrong, not an argument's type
                f"data.curriculum: it goes by people's agreement on pairs, and data.train ({type(source).__name__}) "
                "has none; leave it out"
            )
        return self.curriculum.of(source, self.batch_size, self.seed)

    def _ranks(self) -> tuple[int, int]:
        """This process's rank, and how many processes there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def _demonstrated(train: TrainingSource | None, traces: Demonstrator | None) -> TrainingSource | None:
    """What is trained on: of pairs those alone that there are demonstrations for."""
    if traces is None or not isinstance(train, PairSource):
        return train
    places = traces.places(train)
    return train if places is None else KeptPairs(train, places)


def _as_they_are(batch: list[Record]) -> list[Record]:
    return batch


def _together(batch: list[list[ShownPair]]) -> list[ShownPair]:
    return [shown for unit in batch for shown in unit]


def _demonstrate(traces: Demonstrator, batch: list[Shown]) -> list[Demonstration]:
    return [traces(shown) for shown in batch]
