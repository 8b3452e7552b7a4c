"""Two processes cut work of unequal length, and one runs out of memory; under torchrun each saves what it saw."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from lit_listener.training.out_of_memory import TokenBudget
from lit_listener.vlm import ranks
from lit_listener.vlm.passes import Pass


def main() -> None:
    dist.init_process_group("gloo")
    prompt = 10 if ranks.rank() else 1

    def work(passes: Sequence[Pass]) -> int:
        if ranks.rank():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return len(passes)

    passes = TokenBudget(15)(len, [prompt, prompt], [5, 5, 5, 5] if ranks.rank() else [1, 1, 1, 1])
    message = None
    try:
        TokenBudget(15)(work, [prompt, prompt], [5, 5, 5, 5] if ranks.rank() else [1, 1, 1, 1])
    except torch.OutOfMemoryError as error:
        message = str(error)
    torch.save((passes, message), Path(sys.argv[1]) / f"{ranks.rank()}.pt")
    ranks.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
