"""The memory plan: what a training step will hold on a device, and how it is cut so that it fits.

Weights are counted, passes are measured on the meta device (``vlm.footprint``), the optimizer is asked. What stays
through a whole step is listed once; of its moments (images, rollout, passes, optimizer) the greatest counts. Left out:
the allocator's gaps, CUDA's own memory and DDP's buckets, which the tenth that is kept free is for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lit_listener.data.shown import ShownPair
from lit_listener.training.memory_options import TOKENS_PER_CPU_PASS, Memory
from lit_listener.training.plan.costs import StepShape, largest
from lit_listener.training.plan.measured import Measured, measure
from lit_listener.training.reasoner import Reasoner
from lit_listener.vlm.live_bytes import DeviceType

USABLE = 0.9
"""Share of the free memory that is planned with."""
_GIB = 2**30


@dataclass(frozen=True)
class Plan:
    """What a step holds on each process, in bytes, and how it is cut."""

    held: Mapping[str, float]
    """Throughout the step."""
    moments: Mapping[str, Mapping[str, float]]
    """Beside that, one after another."""
    logits_chunk: float
    """One chunk of float32 logits, which is part of a pass."""
    shape: StepShape
    free_bytes: int | None
    """The device's memory before anything of the step is in it; None: not known, or not to be cut to."""
    max_tokens_per_pass: int | None
    max_rollout_tokens: int | None
    given: Memory
    """What was asked for; where it is null, the plan has chosen."""
    advice: tuple[str, ...]
    """Options by which the step becomes smaller still."""

    @property
    def parts(self) -> dict[str, float]:
        """All parts by name."""
        return {**self.held, **{name: size for moment in self.moments.values() for name, size in moment.items()}}

    @property
    def greatest(self) -> str:
        """The moment that holds most."""
        return max(self.moments, key=lambda name: sum(self.moments[name].values()))

    @property
    def total(self) -> float:
        """Most bytes held at once."""
        return sum(self.held.values()) + sum(self.moments[self.greatest].values())

    @property
    def fits(self) -> bool:
        """Whether that is within the usable share of the device's memory (true where none is known)."""
        return self.free_bytes is None or self.total <= USABLE * self.free_bytes

    def with_budgets(self, max_tokens_per_pass: int | None, max_rollout_tokens: int | None) -> "Plan":
        """The same plan with budgets that all ranks have agreed on, which are no larger."""
        return replace(self, max_tokens_per_pass=max_tokens_per_pass, max_rollout_tokens=max_rollout_tokens)

    def __str__(self) -> str:
        shape = self.shape
        rows = [(f"  {name}", size) for name, size in self.held.items()]
        for moment, parts in self.moments.items():
            rows += [(f"  {moment}: {name}", size) for name, size in parts.items()]
        rows.append(("  (one chunk of logits, part of a pass)", self.logits_chunk))
        rows.append((f"Most at once, with the {self.greatest}", self.total))
        if self.free_bytes is not None:
            rows.append((f"Memory of the device, of which {USABLE:.0%} are planned with", self.free_bytes))
        width = max(len(name) for name, _ in rows)
        lines = [
            f"Memory of a step on each process, in GiB: {shape.prompts} prompts of up to {shape.prompt_tokens} tokens, "
            f"{shape.group_size} completions each of up to {shape.completion_tokens} tokens",
            *(f"{name:<{width}}  {size / _GIB:9.3f}" for name, size in rows),
            self._cut("max_tokens_per_pass", self.max_tokens_per_pass),
            self._cut("max_rollout_tokens", self.max_rollout_tokens),
        ]
        if not self.fits:
            lines.append("This does not fit, cut as far as it may be. To make it smaller, in this order:")
            lines += [f"  {option}" for option in self.advice]
        return "\n".join(lines)

    def _cut(self, option: str, tokens: int | None) -> str:
        if tokens is None:
            return f"model.memory.{option}: null, nothing is cut"
        if getattr(self.given, option) is not None:
            return f"model.memory.{option}: {tokens} (given)"
        return f"model.memory.{option}: {tokens} (chosen{', all at once' if tokens >= self.shape.whole else ''})"


def make_plan(
    reasoner: Reasoner,
    shown: Sequence[ShownPair],
    *,
    free_bytes: int | None,
    ranks: int = 1,
    device_type: DeviceType | None = None,
) -> Plan:
    """Plan a training step. Reads no weights and changes nothing of the reasoner, whose model may be loaded or not.

    Args:
        reasoner: what is to be trained.
        shown: the pairs (or demonstrations) of a step on one process: their longest prompt is planned for.
        free_bytes: the device's memory before the step's first tensor; None cuts nothing.
        ranks: processes that the weights are sharded over; 1 where each holds all of them (DDP too).
        device_type: whose attention kernels; by default CUDA's where there is memory to plan with.

    Raises:
        ValueError: there are no pairs, or the model's options contradict each other.
    """
    if not shown:
        raise ValueError("the memory plan needs the pairs of a step, got none; look at data.train")
    measured = measure(reasoner, shown, ranks, device_type or ("cpu" if free_bytes is None else "cuda"))
    shape, given = measured.shape, reasoner.memory
    limit = float("inf") if free_bytes is None else USABLE * free_bytes - sum(measured.held.values())

    def pass_cost(tokens: int) -> float:
        return max(sum(parts.values()) for parts in measured.passes(tokens).values())

    def rollout_cost(tokens: int) -> float:
        return sum(measured.rollout(tokens).values())

    per_pass, per_rollout = given.max_tokens_per_pass, given.max_rollout_tokens
    if free_bytes is None and device_type in (None, "cpu"):
        per_pass = per_pass or TOKENS_PER_CPU_PASS
    if free_bytes is not None:
        if per_pass is None:
            per_pass = largest(measured.smallest_pass, shape.whole, pass_cost, limit)
        if per_rollout is None and measured.rolls_out:
            per_rollout = largest(shape.smallest, shape.whole, rollout_cost, limit)
    return Plan(
        held=measured.held,
        moments=_moments(measured, per_pass, per_rollout),
        logits_chunk=measured.logits_chunk,
        shape=shape,
        free_bytes=free_bytes,
        max_tokens_per_pass=per_pass,
        max_rollout_tokens=per_rollout,
        given=given,
        advice=tuple(_advice(reasoner, ranks)),
    )


def _moments(measured: Measured, per_pass: int | None, per_rollout: int | None) -> dict[str, dict[str, float]]:
    whole = measured.shape.whole
    moments = {"images": measured.images}
    if measured.rolls_out:
        moments["rollout"] = measured.rollout(min(per_rollout or whole, whole))
    moments |= measured.passes(max(min(per_pass or whole, whole), measured.smallest_pass))
    return {**moments, "optimizer": measured.optimizer_step}


def _advice(reasoner: Reasoner, ranks: int) -> list[str]:
    spec, given = reasoner.policy_spec, reasoner.memory
    advice = [
        f"model.memory.{option}: null (chosen to fit), or below {getattr(given, option)}"
        for option in ("max_tokens_per_pass", "max_rollout_tokens")
        if getattr(given, option) is not None
    ]
    if not spec.gradient_checkpointing:
        advice.append("model.policy.gradient_checkpointing: true (layers are computed twice)")
    if spec.lora is None:
        sharded = (
            " or weights sharded over several GPUs (trainer.strategy: ModelParallelStrategy)" if ranks == 1 else ""
        )
        advice.append(f"model.policy.lora: {{rank: 16, alpha: 32.0}} (adapters train, not all weights){sharded}")
    elif spec.quantization is None:
        advice.append("model.policy.quantization: nf4 (the frozen weights in 4 bits)")
        if spec.dtype == "float32":
            advice.append("model.policy.dtype: bfloat16")
    now = "the model's own bound" if spec.max_pixels is None else spec.max_pixels
    advice.append(f"model.policy.max_pixels: lower (now {now}), so that an image takes fewer tokens")
    advice.append(f"model.sampling.max_new_tokens: lower (now {reasoner.sampling.max_new_tokens})")
    return [*advice, "data.batch_size: lower, so that fewer images are encoded at once"]
