"""The plan made before training on a GPU, which sets what the options leave open; and the one that is printed."""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info

from lit_listener.training.data_module import PreferenceData
from lit_listener.training.plan.plan import Plan, make_plan
from lit_listener.training.reasoner import Reasoner
from lit_listener.training.strategies import data_parallel_mesh
from lit_listener.vlm import ranks


class PlanMemory(Callback):
    """Plans the first step before training on a GPU, where an option of ``model.memory`` is null.

    The reasoner's budgets become the plan's, the least of all ranks', since these must make the same number of passes.
    A step that is not expected to fit is told, not refused: the plan is an estimate.
    """

    def __init__(self) -> None:
        self.plan: Plan | None = None
        """The plan, where one was made."""

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Plan, and tell the plan once."""
        device = trainer.strategy.root_device
        data = getattr(trainer, "datamodule", None)
        if device.type != "cuda" or not isinstance(pl_module, Reasoner) or not isinstance(data, PreferenceData):
            return
        memory = pl_module.memory
        if memory.max_tokens_per_pass is not None and memory.max_rollout_tokens is not None:
            return
        free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)  # ours count as free
        mesh = data_parallel_mesh(trainer, pl_module.policy_spec)
        sharded_over = mesh.size() if mesh is not None else 1
        plan = make_plan(pl_module, first_step(data), free_bytes=agreed(free), ranks=sharded_over)
        plan = self.plan = plan.with_budgets(agreed(plan.max_tokens_per_pass), agreed(plan.max_rollout_tokens))
        pl_module.budget.limit, pl_module.rollout_budget.limit = plan.max_tokens_per_pass, plan.max_rollout_tokens
        rank_zero_info(str(plan))


def agreed(number: int | None) -> int | None:
    """The least of the ranks' numbers. None on one rank is None on all of them."""
    return None if number is None else -ranks.longest(-number)


def first_step(data: PreferenceData, processes: int = 1) -> list[Any]:
    """The pairs, or demonstrations, of the first training step on one process; no loader is set going for them.

    Args:
        data: with its trainer, or alone.
        processes: that share a step, where there is no trainer to know it.
    """
    loader = data.train_dataloader()
    places = next(iter(loader.batch_sampler))
    batch = loader.collate_fn([loader.dataset[place] for place in places])
    return list(batch[: max(1, len(batch) // processes)])


def printed_plan(reasoner: lightning.LightningModule, data: PreferenceData, trainer: Any, gib: float | None) -> Plan:
    """The plan for a config, on a machine that need not be the one it is to run on.

    Args:
        reasoner: not loaded.
        data: with no trainer.
        trainer: the config's options of the Trainer: how many processes there are, and of what kind.
        gib: memory of the device, in GiB; None: this machine's GPU's, and where there is none, nothing is cut.

    Raises:
        ValueError: the memory is not above 0, or the model is none that is trained.
    """
    if not isinstance(reasoner, Reasoner):
        raise ValueError(f"--print_plan: {type(reasoner).__name__} is no reasoner, whose steps alone are planned")  # noqa: TRY004  # an option is wrong, not an argument's type
    if gib is not None and not gib > 0:
        raise ValueError(f"--plan_for_gib: expected GiB above 0, got {gib}")
    processes = _count(trainer.get("devices")) * (trainer.get("num_nodes") or 1)
    here = trainer.get("accelerator") != "cpu" and torch.cuda.is_available()
    free = int(gib * 2**30) if gib is not None else torch.cuda.mem_get_info()[0] if here else None
    gpu = free is not None or trainer.get("accelerator") in ("gpu", "cuda")
    return make_plan(
        reasoner,
        first_step(data, processes),
        free_bytes=free,
        ranks=processes if "ModelParallelStrategy" in str(trainer.get("strategy")) else 1,
        device_type="cuda" if gpu else "cpu",
    )


def _count(devices: Any) -> int:
    """Devices that ``trainer.devices`` names; 1 where it leaves that to the machine."""
    if isinstance(devices, list):
        return len(devices)
    return max(1, int(devices)) if str(devices).lstrip("-").isdigit() else 1
