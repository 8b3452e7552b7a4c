"""Trainings that are run by one process and by several, and what each leaves: losses, gradients, metrics, weights.

Run as a program under torchrun, it runs the named cases one after another and rank 0 saves what each left.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch.distributed.tensor import DTensor

from lit_listener.data.shapes import ShapesTraces
from lit_listener.tasks import PairwisePreference
from lit_listener.training import AnswerSFT, BradleyTerryReward, DynamicSampling, RefreshEvery, TraceSFT
from lit_listener.training.grpo_options import Objective, Updates
from lit_listener.training.memory_options import Memory
from lit_listener.training.predictions import PredictionsFile
from lit_listener.vlm import ranks
from lit_listener.vlm.listeners import ModelListener, ShuffledListener
from lit_listener.vlm.loading import load
from lit_listener.vlm.rollout import Sampling
from lit_listener.vlm.sharding import Sharding
from lit_listener.vlm.specs import LoraSpec, PolicySpec
from tests.training.tiny_runs import BLANK, TEMPLATE, Babble, BabblingGRPO, data, grpo, pairs, sgd, trainer

STEPS = 3
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Left:
    """What a run leaves."""

    metrics: list[dict[str, float]]
    gradients: list[dict[str, torch.Tensor]]
    weights: dict[str, torch.Tensor]
    judged: list[tuple[str, str, int | None]] = field(default_factory=list)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full.detach().clone()


class KeepsGradients:
    """Keeps the gradient of every optimizer step, as it is before clipping."""

    kept: list[dict[str, torch.Tensor]]

    def clip_to_norm(self) -> torch.Tensor:
        named = [(name, p.grad) for name, p in self.named_parameters() if p.requires_grad]  # type: ignore[attr-defined]
        self.kept = [
            *getattr(self, "kept", []),
            {name: whole(grad) for name, grad in named if grad is not None},
        ]
        return super().clip_to_norm()  # type: ignore[misc, no-any-return]


class KeepingGRPO(KeepsGradients, BabblingGRPO):
    """GRPO whose second prompt of two, of all that one process would have, has no readable completion."""

    def read(self, completions: Any) -> Any:
        transcripts = super().read(completions)
        if len(transcripts) % self.group_size or not getattr(self, "every_other_unreadable", False):
            return transcripts
        prompt = [n // self.group_size * ranks.world_size() + ranks.rank() for n in range(len(transcripts))]
        return [
            replace(t, answer=None, answer_token=None) if p % 2 else t for t, p in zip(transcripts, prompt, strict=True)
        ]

    def reward(self, asked: Any, *others: Any) -> Any:
        rewards = super().reward(asked, *others)
        if not getattr(self, "some_flat", False):
            return rewards
        flat = [index % 5 in (0, 3) for _, index in asked.keys for _ in range(self.group_size)]
        flat_N = torch.tensor(flat)
        return replace(
            rewards,
            terms_NK=rewards.terms_NK.masked_fill(flat_N[:, None], 1.0),
            total_N=rewards.total_N.masked_fill(flat_N, 1.0),
        )


class KeepingSFT(KeepsGradients, TraceSFT):
    """Supervised fine-tuning."""


class KeepingAnswers(KeepsGradients, AnswerSFT):
    """Fine-tuning on answers alone."""


class KeepingReward(KeepsGradients, BradleyTerryReward):
    """A reward model whose head is not zero at first: else only the head has a gradient."""

    def _load(self, mesh: Any) -> None:
        super()._load(mesh)
        with torch.no_grad():
            self.policy.head.weight.fill_(0.3)


BASELINES: dict[str, Callable[..., Any]] = {
    "answers": lambda: KeepingAnswers(
        BLANK,
        task=PairwisePreference(TEMPLATE, None, thinks=False),
        labels="votes",
        sampling=Sampling(4),
        optimizer=sgd,
    ),
    "reward": lambda policy: KeepingReward(policy, labels="votes", memory=Memory(200), optimizer=sgd),
}


class Logged(Callback):
    """Keeps what each step logged, and whom it judged."""

    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []
        self.judged: list[tuple[str, str, int | None]] = []

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        self.metrics.append({name: float(value) for name, value in trainer.logged_metrics.items()})

    def on_validation_end(self, trainer: Any, *args: Any) -> None:
        self.metrics.append({name: float(value) for name, value in trainer.callback_metrics.items() if "val/" in name})

    def on_test_batch_end(self, trainer: Any, module: Any, outputs: Any, *args: Any) -> None:
        self.judged += [(row["pair_id"], row["trace"], row["answer"]) for row in outputs]


LORA: dict[str, Any] = {"policy": replace(BLANK, lora=LoraSpec(4, 8.0))}
PASSES: dict[str, Any] = {"updates": Updates(2), "objective": Objective(normalizer="token"), "memory": Memory(100)}
"""A pass for each group."""
CUT: dict[str, Any] = {"updates": Updates(2, 2), "objective": Objective(normalizer="token"), "memory": Memory(72)}
"""Groups whose completions are long are cut, so that ranks come to unequal numbers of passes."""
DYNAMIC: dict[str, Any] = {
    "groups": DynamicSampling(2),
    "objective": Objective(advantage_scale="batch"),
    "some_flat": True,
}
"""Groups that teach something lie unevenly among the ranks, and there are not enough in every batch."""
FREE: dict[str, Any] = {"objective": Objective(kl_weight=0.0), "listener": ModelListener("shapes-instruct")}
KEEPS_FEATURES = Memory(72, cached_features_mib=1.0)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ddp": ("ddp", {}),
    "ddp_lora": ("ddp", LORA),
    "ddp_passes": ("ddp", {**LORA, **PASSES}),
    "ddp_cut": ("ddp", CUT),
    "ddp_batch_scale": ("ddp", {"objective": Objective(advantage_scale="batch", normalizer="constant")}),
    "ddp_shuffled": ("ddp", {"listener": ShuffledListener()}),
    "ddp_gdpo": ("ddp", {"objective": Objective(advantages="per_term")}),
    "ddp_mask_truncated": ("ddp", {"objective": Objective(mask_truncated=True, normalizer="token")}),
    "ddp_dynamic": ("ddp", DYNAMIC),
    "ddp_dynamic_minibatches": ("ddp", {**DYNAMIC, "groups": DynamicSampling(4), "updates": Updates(2, 2)}),
    "ddp_kl_free": ("ddp", FREE),
    "ddp_sft": ("ddp", {"sft": True}),
    "fsdp": ("fsdp", {}),
    "fsdp_lora": ("fsdp", LORA),
    "fsdp_passes": ("fsdp", PASSES),
    "fsdp_cut": ("fsdp", {**CUT, "listener": ModelListener("shapes-instruct"), "memory": KEEPS_FEATURES}),
    "fsdp_in_step": ("fsdp", {"sharding": Sharding(gather_for_rollout=False)}),
    "fsdp_vision": ("fsdp", {"policy": replace(BLANK, train_vision=True)}),
    "fsdp_checkpointing": ("fsdp", {"policy": replace(BLANK, gradient_checkpointing=True)}),
    "fsdp_listener": ("fsdp", {"listener": ModelListener("shapes-instruct")}),
    "fsdp_unreadable": ("fsdp", {"every_other_unreadable": True}),
    "ddp_unreadable": ("ddp", {"every_other_unreadable": True}),
    "fsdp_start": (
        "fsdp",
        {"policy": PolicySpec("shapes-instruct", start="shapes-warm-start"), "sampling": Sampling(8, temperature=3.0)},
    ),
    "fsdp_adapter": ("fsdp", {"goes_on_from_an_adapter": True, "reference": "start"}),
    "fsdp_dynamic": ("fsdp", {**DYNAMIC, "policy": replace(BLANK, train_vision=True)}),
    "fsdp_kl_free": ("fsdp", FREE),
    "fsdp_refreshed": ("fsdp", {"listener": ModelListener("shapes-instruct"), "reference_refresh": RefreshEvery(2)}),
    "fsdp_sft": ("fsdp", {"sft": True}),
    "ddp_answers": ("ddp", {"baseline": "answers"}),
    "fsdp_answers": ("fsdp", {"baseline": "answers"}),
    "ddp_reward": ("ddp", {"baseline": "reward", "policy": replace(BLANK, lora=LoraSpec(4, 8.0))}),
    "fsdp_reward": ("fsdp", {"baseline": "reward", "policy": BLANK}),
    "fsdp_reward_vision": ("fsdp", {"baseline": "reward", "policy": replace(BLANK, train_vision=True)}),
}
JUDGED = ("ddp", "fsdp", "fsdp_in_step")
"""Those that are tested on some pairs too."""
STRATEGIES = {
    "ddp": lambda: DDPStrategy(process_group_backend="gloo"),
    "fsdp": lambda: ModelParallelStrategy(2, 1, process_group_backend="gloo"),
}


def write_adapter(folder: Path) -> PolicySpec:
    """An adapter that changes something, and a policy that goes on from it."""
    spec = replace(BLANK, lora=LoraSpec(4, 8.0), init_seed=3)
    adapter = load(spec).adapter
    assert adapter is not None
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.01)
    start = folder / f"adapter-{ranks.rank()}"
    adapter.save_pretrained(start)
    return replace(spec, start=str(start))


def module_of(case: str, folder: Path) -> Any:
    options = dict(CASES[case][1])
    if options.pop("goes_on_from_an_adapter", False):
        options["policy"] = write_adapter(folder)
    if baseline := options.pop("baseline", None):
        return BASELINES[baseline](**options)
    if options.pop("sft", False):
        return KeepingSFT(BLANK, task=Babble(), sampling=Sampling(4), optimizer=sgd)
    unreadable, flat = options.pop("every_other_unreadable", False), options.pop("some_flat", False)
    module = grpo(KeepingGRPO, **options)
    module.every_other_unreadable, module.some_flat = unreadable, flat
    return module


def run(case: str, folder: Path, *, several: bool) -> Left:
    """Train a few steps on batches of 4 of 13 pairs, validating 5 in between; test on 5."""
    module, logged = module_of(case, folder), Logged()
    options: dict[str, Any] = {"strategy": STRATEGIES[CASES[case][0]](), "devices": 2} if several else {}
    steps = STEPS * module.optimizer_steps_per_batch
    run = trainer(
        folder, steps, logged, PredictionsFile(), val_check_interval=2, check_val_every_n_epoch=None, **options
    )
    source = {"held_in": pairs(5, split="validation")}
    traces = ShapesTraces({"thorough": 0.5, "hasty": 0.5}) if isinstance(module, TraceSFT) else None
    loaders = data(13, validation=source, test=source, eval_batch_size=2, traces=traces)
    run.fit(module, loaders)
    weights = {name: whole(p) for name, p in module.named_parameters() if p.requires_grad}
    if case in JUDGED:
        run.test(module, loaders, verbose=False)
    return Left(logged.metrics, module.kept, weights, logged.judged)


def by_two_ranks(module: str, *args: str) -> str:
    """Run a module as a program by two processes over gloo, under torchrun. Returns what they said on stderr."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "-m", module, *args],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stderr


def main() -> None:
    """The cases that are named, of those that are asked for."""
    folder, *cases = sys.argv[1:]
    for case in cases:
        left = run(case, Path(folder) / case, several=True)
        torch.save(vars(left), Path(folder) / f"{case}.{ranks.rank()}.pt")


if __name__ == "__main__":
    main()
