"""The numbers that a plan is made of: counted, measured or asked for a reasoner, before any cut is chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from lit_listener.data.shown import Demonstration, ShownPair
from lit_listener.training.listener_grpo import ListenerGRPO
from lit_listener.training.plan.costs import Curve, StepShape
from lit_listener.training.plan.optimizer_state import optimizer_bytes
from lit_listener.training.reasoner import Reasoner
from lit_listener.vlm import footprint
from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.encoding import PromptBatch, Reader, label_token_ids
from lit_listener.vlm.footprint import Rows
from lit_listener.vlm.listeners import ModelListener
from lit_listener.vlm.live_bytes import DeviceType
from lit_listener.vlm.loading import Models, load, load_backbone
from lit_listener.vlm.specs import PolicySpec


@dataclass(frozen=True)
class Measured:
    """What a step holds, on one process."""

    shape: StepShape
    held: Mapping[str, float]
    images: dict[str, float]
    curves: Mapping[str, Curve]
    """Bytes of each kind of pass by its tokens."""
    gathered: float
    """Of sharded weights: what is gathered during a pass."""
    gathered_for_rollout: float
    token_bytes: int
    """Keys and values of one token."""
    prompt_copies: int
    """Copies of a prompt's keys and values that the rollout engine keeps."""
    logit_bytes: float
    """Of one completion, while its next token is sampled."""
    logits_chunk: float
    optimizer_step: dict[str, float]
    smallest_pass: int
    """Tokens of a pass that is not cut any more."""
    reading: Curve | None
    """Bytes of a pass over prompts before a rollout; None where a training step does not sample."""

    @property
    def rolls_out(self) -> bool:
        """Whether a training step samples."""
        return self.reading is not None

    def passes(self, tokens: int) -> dict[str, dict[str, float]]:
        """Each kind of pass at a budget of tokens."""
        extra = {"gathered weights": self.gathered} if self.gathered else {}
        return {name: {"activations": curve(tokens), **extra} for name, curve in self.curves.items()}

    def rollout(self, tokens: int) -> dict[str, float]:
        """A rollout at a budget of tokens.

        Prompts are read in a pass of its own before a token is sampled; it costs no more than a scoring pass over them.
        """
        prompts = self.shape.rollout_prompts(tokens) * self.shape.prompt_tokens
        kept = min(tokens, self.shape.whole) + (self.prompt_copies - 1) * prompts
        logits = self.shape.rollout_rows(tokens) * self.logit_bytes
        reading = 0.0 if self.reading is None else self.reading(prompts)
        return {
            "keys and values": float(kept * self.token_bytes),
            "reading prompts, or logits": max(reading, logits),
            **({"gathered weights": self.gathered_for_rollout} if self.gathered_for_rollout else {}),
        }


def measure(reasoner: Reasoner, shown: Sequence[ShownPair], ranks: int, device_type: DeviceType) -> Measured:
    """Measure a reasoner's step on the meta device.

    Args:
        reasoner: loaded or not.
        shown: the step's pairs or demonstrations.
        ranks: processes that weights are sharded over.
        device_type: whose attention kernels.
    """
    spec = reasoner.policy_spec
    # fresh adapters have the sizes of the ones that are started from, which would have to be read
    spec = replace(
        spec, attention="sdpa", start=None if spec.lora else spec.start
    )  # flex, which holds less, has no meta
    reference = reasoner.reference_name if reasoner.wants_reference else None
    models = load(spec, reference, empty=True, changing_reference=reasoner.refreshes_reference)
    listeners = _listeners(reasoner)
    prompts, shape = _step(reasoner, shown, models.reader)
    held = _weights(reasoner, models, listeners)
    trained = [p for p in models.policy.parameters() if p.requires_grad]
    held["gradients"] = float(sum(map(footprint.tensor_bytes, trained)))
    costs = [optimizer_bytes(reasoner.make_optimizer, p.dtype, device_type) for p in trained[:1]]  # all of one format
    elements = sum(p.numel() for p in trained)
    held["optimizer state"] = sum(elements * cost.state for cost in costs)
    held = {name: size / ranks for name, size in held.items()}
    gathered, rollout_copy = _gathered(reasoner, models.policy) if ranks > 1 else (0.0, 0.0)
    if ranks > 1:
        models.policy.to(getattr(torch, reasoner.sharding.compute_dtype))
    features, encoding = footprint.encoding_bytes(models.policy.eval(), _longest(prompts), device_type)
    held["image features"] = float(shape.prompts * features)  # the images of a step are encoded all at once
    samples = isinstance(reasoner, ListenerGRPO)
    curves = _curves(reasoner, models, listeners, prompts, shape, device_type)
    scoring = curves.pop("scoring pass", None)
    if scoring is not None and isinstance(reasoner, ListenerGRPO) and reasoner.use_of_reference.makes_a_pass:
        curves = {"reference pass": scoring, **curves}
    return Measured(
        shape=shape,
        held=held,
        images={"encoding": float(shape.prompts * (encoding - features))},
        curves=curves,
        gathered=gathered,
        gathered_for_rollout=rollout_copy,
        token_bytes=footprint.key_value_bytes(models.policy),
        prompt_copies=reasoner.engine.prompt_copies(shape.group_size),
        logit_bytes=footprint.sampling_bytes(models.policy),
        logits_chunk=footprint.logits_chunk_bytes(models.policy, shape.whole),
        optimizer_step={"scratch": sum(elements * cost.scratch for cost in costs) / ranks},
        smallest_pass=shape.smallest if samples else shape.whole,  # fine-tuning cuts nothing
        reading=scoring,
    )


def _listeners(reasoner: Reasoner) -> list[tuple[Backbone, Any]]:
    """The models that listen, one or several within another, and their label ids."""
    found = []
    for listener in [each for each in reasoner.listener.modules() if isinstance(each, ModelListener)]:
        backbone, reader = load_backbone(listener.name, PolicySpec(listener.name, dtype=listener.dtype), empty=True)
        found.append((backbone.requires_grad_(False), label_token_ids(reader.tokenizer, reasoner.task.labels)))
    return found


def _step(reasoner: Reasoner, shown: Sequence[Any], reader: Reader) -> tuple[PromptBatch, StepShape]:
    """The step's prompts, and its shape: completions at their full length, or as they were written."""
    pairs = [one.shown if isinstance(one, Demonstration) else one for one in shown]
    longest = reasoner.sampling.max_new_tokens
    written = [reasoner.task.write(one) for one in shown if isinstance(one, Demonstration)]
    if written:
        longest = max(len(reader.encoder.encode_text(text)) + 1 for text in written)
    prompts = reader.encoder.encode([reasoner.task.encode(pair) for pair in pairs], room=longest)
    group_size = reasoner.group_size if isinstance(reasoner, ListenerGRPO) else 1
    return prompts, StepShape(len(pairs), prompts.input_ids_PS.shape[1], group_size, longest)


def _weights(reasoner: Reasoner, models: Models, listeners: Sequence[tuple[Backbone, Any]]) -> dict[str, float]:
    """Each model's weights; those that two of them share are counted with the first."""
    spec = reasoner.policy_spec
    counted: set[int] = set()
    policy = footprint.weight_bytes(models.policy, four_bits=spec.quantization is not None, counted=counted)
    reference = 0.0 if models.reference is None else footprint.weight_bytes(models.reference, counted=counted)
    started = reasoner.wants_reference and reasoner.reference_name == "start"  # an adapter that is not read here
    if spec.lora is not None and spec.start is not None and started and not reasoner.refreshes_reference:
        reference += sum(footprint.tensor_bytes(p) for p in models.policy.parameters() if p.requires_grad)
    loaded = reasoner.models is not None and models.shares_vision and not reasoner.shares_vision
    if loaded:  # the towers turned out to differ
        reference += footprint.weight_bytes(models.policy.vision_tower)
    return {
        "weights of the policy": policy,
        "weights of the reference": reference,
        "weights of the listener": float(sum(footprint.weight_bytes(backbone) for backbone, _ in listeners)),
    }


def _gathered(reasoner: Reasoner, policy: Backbone) -> tuple[float, float]:
    """What sharded weights take where they are gathered: during a pass, and during a rollout.

    A pass holds the root's (embeddings, norms, output matrix), one layer and the next, which is fetched ahead, and in
    the backward pass the gradients of the root and of a layer.
    """
    size = torch.empty(0, dtype=getattr(torch, reasoner.sharding.compute_dtype)).element_size()
    layers = [sum(p.numel() for p in layer.parameters()) for layer in policy.layers()]
    everything = sum(p.numel() for p in policy.parameters())
    root = everything - sum(layers)
    a_pass = size * (2 * root + 3 * max(layers))
    return float(a_pass), float(size * everything if reasoner.sharding.gather_for_rollout else a_pass)


def _curves(
    reasoner: Reasoner,
    models: Models,
    listeners: Sequence[tuple[Backbone, Any]],
    prompts: PromptBatch,
    shape: StepShape,
    device_type: DeviceType,
) -> dict[str, Curve]:
    """The passes of a step, each measured at one completion, half a group, a group and two groups."""
    policy, group = models.policy, shape.group_size
    cuts = sorted({(1, 1), (1, -(-group // 2)), (1, group), (min(2, shape.prompts), group)})
    rows = [Rows(count, shape.prompt_tokens, completions, shape.completion_tokens) for count, completions in cuts]
    scratch = _dequantized(reasoner, policy)
    images = _longest(prompts) if reasoner.policy_spec.train_vision else None
    labels = label_token_ids(models.reader.tokenizer, reasoner.task.labels)
    curves = {}
    if isinstance(reasoner, ListenerGRPO):
        policy.eval()
        costs = [footprint.scoring_bytes(policy, cut, device_type, label_ids=labels) + scratch for cut in rows]
        curves["scoring pass"] = Curve([(cut.tokens, cost) for cut, cost in zip(rows, costs, strict=True)])
        for place, (backbone, label_ids) in enumerate(listeners):
            heard = [footprint.scoring_bytes(backbone, cut, device_type, label_ids=label_ids) for cut in rows]
            name = "listener's pass" if not place else f"listener's pass, the {place + 1}. model"
            curves[name] = Curve([(cut.tokens, cost) for cut, cost in zip(rows, heard, strict=True)])
    policy.train()
    costs = [footprint.update_bytes(policy, cut, device_type, images) + scratch for cut in rows]
    policy.eval()
    return {**curves, "update pass": Curve([(cut.tokens, cost) for cut, cost in zip(rows, costs, strict=True)])}


def _dequantized(reasoner: Reasoner, policy: Backbone) -> int:
    """The greatest 4-bit weight, written out for the time that it is computed with."""
    if reasoner.policy_spec.quantization is None:
        return 0
    weights = [p.numel() for layer in policy.layers() for p in layer.parameters()]
    return max(weights) * torch.empty(0, dtype=getattr(torch, reasoner.policy_spec.dtype)).element_size()


def _longest(prompts: PromptBatch) -> PromptBatch:
    """The longest prompt, with no patches in it; its images' grids stay real, since lengths are read off them."""
    longest = int(prompts.lengths_P.argmax())
    alone = prompts.select(slice(longest, longest + 1))
    return replace(alone, pixel_values_RC=alone.pixel_values_RC.to("meta"))
