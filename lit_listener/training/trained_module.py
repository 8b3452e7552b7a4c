"""A module whose weights train: its options, its optimizer, and what of it goes into a checkpoint.

What trains, and on what loss, is a subclass's. Checkpoints hold trained weights only: the others are loaded from where
they came.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from lit_listener.training.judging_module import JudgingModule
from lit_listener.training.memory_options import TOKENS_PER_CPU_PASS, Memory
from lit_listener.training.out_of_memory import TokenBudget
from lit_listener.training.schedule import Schedule
from lit_listener.training.strategies import data_parallel_mesh
from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.encoding import Reader
from lit_listener.vlm.image_cache import ImageCache
from lit_listener.vlm.loading import PolicySpec
from lit_listener.vlm.sharding import Sharding, shard


class TrainedModule(JudgingModule):
    """A judging module with weights that train.

    Args:
        policy: which weights training starts from and which train.
        optimizer: makes the optimizer from the trainable parameters.
        schedule: learning rate over optimizer steps.
        gradient_clip_norm: gradients are scaled down to this norm; above 0, or inf for no clipping.
        memory: how a step is cut to the memory there is.
        sharding: how weights are computed with that ModelParallelStrategy spreads over several GPUs.
    """

    def __init__(  # one option each keeps a config flat
        self,
        policy: PolicySpec,
        optimizer: OptimizerCallable,
        schedule: Schedule,
        gradient_clip_norm: float,
        memory: Memory,
        sharding: Sharding,
    ) -> None:
        super().__init__()
        if not gradient_clip_norm > 0:
            raise ValueError(f"model.gradient_clip_norm: expected a value above 0, got {gradient_clip_norm}")
        self.policy_spec = policy
        self.make_optimizer = optimizer
        self.schedule = schedule
        self.gradient_clip_norm = gradient_clip_norm
        self.memory = memory
        self.sharding = sharding
        self.budget = TokenBudget(memory.max_tokens_per_pass)
        self.image_cache = ImageCache(memory.cached_features_mib, frozen=not policy.train_vision)
        self.strict_loading = False  # checkpoints hold only weights that change
        self.register_state_dict_post_hook(_keep_trainable)  # type: ignore[no-untyped-call]
        self.stop_requested = False
        """Set by whoever wants training to stop at the next place where nothing is lost."""
        self.unfinished: Any = None
        self.trainable: list[str] | None = None
        """Names of the weights that train; None until they are loaded."""
        self.saved_names: list[str] = []
        """Names of the weights that change, and are in checkpoints: those that train, at least."""

    def setup(self, stage: str) -> None:
        """Bound the passes of a CPU."""
        super().setup(stage)
        if self.memory.max_tokens_per_pass is None and self.trainer.strategy.root_device.type == "cpu":
            self.budget.limit = TOKENS_PER_CPU_PASS

    def configure_model(self) -> None:
        """Load what there is to load, once."""
        if self.trainable is None:
            self._load(self.mesh)

    @property
    def mesh(self) -> DeviceMesh | None:
        """The ranks that weights are sharded over; None where each process holds all of them."""
        return data_parallel_mesh(self._trainer, self.policy_spec)

    policy: Backbone
    """What trains; there once it is loaded, like its reader."""
    reader: Reader

    @abstractmethod
    def _load(self, mesh: DeviceMesh | None) -> None:
        """Load the weights, and note which train in ``trainable``, and which change in ``saved_names``."""

    @abstractmethod
    def model_files(self, config: Path) -> Mapping[str, str | bytes]:
        """What goes beside the weights in a model folder, by name: how the model is asked.

        Args:
            config: the run's config, where it is kept.
        """

    def shard_part(self, part: torch.nn.Module, mesh: DeviceMesh | None) -> None:
        """Share the weights of all backbones in a part out among the ranks, where they are to be."""
        for backbone in [module for module in part.modules() if isinstance(module, Backbone)]:
            if mesh is not None:
                shard(backbone, mesh, self.sharding)

    def configure_optimizers(self) -> Any:
        """The optimizer over what trains, and its schedule, stepped once an optimizer step."""
        optimizer = self.make_optimizer(self._trained_parameters())
        scheduler = self.schedule.of(optimizer, self._total_optimizer_steps())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _total_optimizer_steps(self) -> int | None:
        """Optimizer steps of the whole run; None where it has no end in sight.

        Lightning's estimate is the smaller of ``max_steps``, which counts optimizer steps, and the number of batches.
        """
        estimate = self.trainer.estimated_stepping_batches
        if math.isinf(estimate):
            return None
        steps = int(estimate) * self.optimizer_steps_per_batch
        return min(steps, self.trainer.max_steps) if self.trainer.max_steps > 0 else steps

    @property
    def optimizer_steps_per_batch(self) -> int:
        """Optimizer steps that follow one batch."""
        return 1

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of another model: loading is not strict, and would leave out what does not fit.

        Raises:
            ValueError: the checkpoint does not hold exactly the weights that this model trains.
        """
        if self.trainable is None or "state_dict" not in checkpoint:  # a sharded one is loaded, and checked, by torch
            return
        found = set(checkpoint["state_dict"])
        for what, names in (("lacks", set(self.saved_names) - found), ("has also", found - set(self.saved_names))):
            if names:
                raise ValueError(
                    f"the checkpoint holds other weights than this model trains: it {what} {len(names)} of them, for "
                    f"instance {min(names)}; load it with the config of its own run"
                )

    def clip_to_norm(self) -> Tensor:
        """Scale the gradient down to ``gradient_clip_norm``. Returns its norm before that.

        Raises:
            FloatingPointError: the gradient is not finite; the optimizer step must not be taken.
        """
        norm = torch.nn.utils.clip_grad_norm_(self._trained_parameters(), self.gradient_clip_norm)
        if isinstance(norm, DTensor):
            norm = norm.full_tensor()
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"the gradient's norm is {float(norm)}: nothing was updated; lower the learning rate, or look at the "
                "last samples for what went wrong"
            )
        return norm

    def _trained_parameters(self) -> list[Tensor]:
        return [p for p in self.parameters() if p.requires_grad]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave records as they are: what is encoded from them is moved where it is encoded."""
        return batch


def _keep_trainable(module: Any, state: dict[str, Any], prefix: str, local_metadata: Any) -> None:
    """Leave weights that never change out of the state: they are loaded from where they came."""
    kept = {prefix + name for name in getattr(module, "saved_names", ())}
    for name in [name for name in state if name not in kept]:
        del state[name]
