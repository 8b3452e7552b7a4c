"""Two processes train, are stopped in the middle of a rollout, and go on; run under torchrun, which saves the ends."""

import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from lit_listener.training.listener_grpo import Updates
from lit_listener.training.run.checkpoints import RunCheckpoint
from lit_listener.training.run.metrics_file import MetricsFile
from lit_listener.training.schedule import Schedule
from lit_listener.vlm import ranks
from lit_listener.vlm.rollout import Sampling
from tests.training.broken_runs import adam
from tests.training.several_ranks import STRATEGIES, whole
from tests.training.tiny_runs import data, grpo, pairs, trainer


class AskOne(Callback):
    """Asks the second process alone to stop, before the fifth optimizer step: the first of the third rollout."""

    def on_before_optimizer_step(self, trainer: Any, module: Any, *args: Any) -> None:
        if trainer.global_step == 4 and trainer.global_rank == 1:
            module.stop_requested = True


def fit(strategy: str, folder: Path, *callbacks: Callback, resume: bool = False) -> dict[str, torch.Tensor]:
    """Five rollouts of two steps each; 13 pairs, saved every second rollout, validated as often."""
    lightning.seed_everything(99 if resume else 0, verbose=False)
    updates, schedule = Updates(epochs=2), Schedule("linear", 2)
    module = grpo(sampling=Sampling(4), group_size=2, updates=updates, optimizer=adam, schedule=schedule)
    run = trainer(
        folder,
        10,
        *callbacks,
        RunCheckpoint(2, save_top_k=1, monitor="val/unparsable_share"),
        logger=MetricsFile(folder),
        enable_checkpointing=True,
        strategy=STRATEGIES[strategy](),
        devices=2,
        val_check_interval=2,
        check_val_every_n_epoch=None,
    )
    last = folder / "checkpoints" / "last.ckpt" if resume else None
    run.fit(module, data(13, validation={"held_in": pairs(3, split="validation")}, eval_batch_size=2), ckpt_path=last)
    return {name: whole(p) for name, p in module.named_parameters() if p.requires_grad}


def main() -> None:
    root = Path(sys.argv[1])
    for strategy in STRATEGIES:
        ends = {"straight": fit(strategy, root / strategy / "straight")}
        try:
            fit(strategy, root / strategy / "run", AskOne())
        except SystemExit:
            ends["resumed"] = fit(strategy, root / strategy / "run", resume=True)
        torch.save(ends, root / f"{strategy}.{ranks.rank()}.pt")


if __name__ == "__main__":
    main()
