"""Two processes train with a remote listener that fails one of them, and go on; run under torchrun, it saves the ends.

Arguments: a folder, and the address that each process asks.
"""

import sys
from pathlib import Path

import lightning
import torch

from lit_listener.training.run.checkpoints import RunCheckpoint
from lit_listener.training.run.metrics_file import MetricsFile
from lit_listener.vlm import ranks
from lit_listener.vlm.listeners import ListenerFailedError, RemoteListener
from lit_listener.vlm.rollout import Sampling
from tests.training.broken_runs import adam
from tests.training.several_ranks import STRATEGIES, whole
from tests.training.tiny_runs import data, grpo, trainer

UP = "up"
"""A file of this name: all servers answer from here on."""


class OfRank(RemoteListener):
    """Asks its own process's server."""

    def __init__(self, urls: list[str]) -> None:
        super().__init__(urls[0], "judge", "reasoner", patience_s=1.0)
        self.urls = urls

    def prepare(self, task: object, tokenizer: object) -> None:
        self.base_url = self.urls[ranks.rank()]
        super().prepare(task, tokenizer)  # type: ignore[arg-type]


def fit(strategy: str, folder: Path, urls: list[str], *, resume: bool = False) -> dict[str, torch.Tensor]:
    """Five rollouts; saved at the end alone, and where the run breaks off."""
    lightning.seed_everything(99 if resume else 0, verbose=False)
    module = grpo(sampling=Sampling(4), group_size=2, optimizer=adam, listener=OfRank(urls))
    run = trainer(
        folder,
        5,
        RunCheckpoint(0),
        logger=MetricsFile(folder),
        enable_checkpointing=True,
        strategy=STRATEGIES[strategy](),
        devices=2,
    )
    run.fit(module, data(20), ckpt_path=folder / "checkpoints" / "last.ckpt" if resume else None)
    return {name: whole(p) for name, p in module.named_parameters() if p.requires_grad}


def main() -> None:
    root, urls = Path(sys.argv[1]), sys.argv[2:]
    for strategy in STRATEGIES:
        (root / UP).touch()
        ends = {"straight": fit(strategy, root / strategy / "straight", urls)}
        ranks.barrier()
        (root / UP).unlink(missing_ok=True)
        ranks.barrier()
        try:
            fit(strategy, root / strategy / "run", urls)
        except ListenerFailedError as error:
            (root / f"{strategy}.{ranks.rank()}.txt").write_text(str(error))
            (root / UP).touch()
            ends["resumed"] = fit(strategy, root / strategy / "run", urls, resume=True)
        torch.save(ends, root / f"{strategy}.{ranks.rank()}.pt")


if __name__ == "__main__":
    main()
