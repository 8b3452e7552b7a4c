"""Two processes whose work is of unequal size make as many passes; under torchrun each saves what it saw."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from lit_listener.training.out_of_memory import TokenBudget
from lit_listener.vlm import ranks
from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.image_cache import ImageCache
from lit_listener.vlm.loading import load
from lit_listener.vlm.passes import Pass
from tests.training.tiny_runs import BLANK, Babble, shown


def passes_made() -> int:
    """Rank 0 alone would make one pass, rank 1 four."""
    return TokenBudget(15)(len, *lengths())


def lengths() -> tuple[list[int], list[int]]:
    return ([10, 10], [5, 5, 5, 5]) if ranks.rank() else ([1, 1], [1, 1, 1, 1])


def running_out() -> str | None:
    """What is said where memory runs out on rank 1 alone."""

    def work(passes: Sequence[Pass]) -> None:
        if ranks.rank():
            raise torch.OutOfMemoryError("CUDA out of memory")

    try:
        TokenBudget(15)(work, *lengths())
    except torch.OutOfMemoryError as error:
        return str(error)
    return None


def images_encoded() -> list[int]:
    """Images of each call of the tower: rank 0 asks about one pair again, rank 1 about others, then both again."""
    models, cache, encoded = load(BLANK), ImageCache(1.0), []
    encode = Backbone.image_features
    Backbone.image_features = lambda self, prompts: (  # type: ignore[method-assign]
        encoded.append(len(prompts.image_grid_I3)) or encode(self, prompts)
    )
    for place in ((0, 0, 0), (0, 1, 1))[ranks.rank()]:
        prompts = models.reader.encoder.encode([Babble().encode(shown(2)[place])])
        with torch.no_grad():
            cache.features(models.policy, prompts, prompts.pixel_values_RC)
    return encoded


def main() -> None:
    dist.init_process_group("gloo")
    seen = {"passes": passes_made(), "message": running_out(), "images": images_encoded()}
    torch.save(seen, Path(sys.argv[1]) / f"{ranks.rank()}.pt")
    ranks.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
