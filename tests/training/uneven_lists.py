"""Two processes with shards of one model, which judge lists of unequal length: run by ``by_two_ranks``."""

import sys
from itertools import combinations
from pathlib import Path

from lit_listener.data.records import PairSource, PreferencePair, RankedList
from lit_listener.training.memory_options import Memory
from lit_listener.training.predictions import PredictionsFile
from tests.training.several_ranks import STRATEGIES
from tests.training.tiny_runs import data, grpo, pairs, trainer

SIZES = (2, 5, 2, 5)
"""Images of each list: the first rank has one pair a batch where the second has ten."""


class Lists(PairSource):
    """All pairs of some lists."""

    def __init__(self) -> None:
        source = pairs(3)
        images = [image for n in range(3) for image in (source[n].image_a, source[n].image_b)]
        self.pairs: list[tuple[int, PreferencePair]] = []
        for n, size in enumerate(SIZES):
            ranks = tuple(float(place + 1) for place in range(size))
            ranked = RankedList("four red squares", tuple(images[:size]), ranks, f"l{n}", f"p{n}", ("",) * size)
            self.pairs += [(n, ranked.pair(a, b)) for a, b in combinations(range(size), 2)]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> PreferencePair:
        return self.pairs[index][1]

    def list_of(self, index: int) -> int:
        return self.pairs[index][0]


def main(folder: str) -> None:
    """One training step, so that there is something to judge with, and a test."""
    module = grpo(memory=Memory(72, max_rollout_tokens=72))  # a pass for each pair
    run = trainer(Path(folder), 1, PredictionsFile(), limit_val_batches=0, strategy=STRATEGIES["fsdp"](), devices=2)
    loaders = data(13, test={"lists": Lists()}, eval_batch_size=2)
    run.fit(module, loaders)
    run.test(module, loaders, verbose=False)


if __name__ == "__main__":
    main(sys.argv[1])
