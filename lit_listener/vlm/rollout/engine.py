"""What a rollout engine is: it draws completions of the policy, each from a stream of random numbers of its own.

An engine is an object that is chosen once, with the reasoner. It is given the policy's weights with every rollout, so
one that keeps a copy of them in another process knows when to renew it. Whatever the engine, only the policy's own
distribution is sampled: nothing of a released generation config is used but its end tokens, no penalties, no top-k or
top-p, which would bias the policy ratio.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_listener.objective import SUPPRESSED_LOGIT, suppression_mask
from lit_listener.vlm.backbone import Backbone, LabelIds
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import PromptBatch, Vocabulary
from lit_listener.vlm.streams import ItemKey


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Args:
        max_new_tokens: longest completion in tokens, end token included; at least 1.
        temperature: logits are divided by it; above 0.
        seed: seed of the completions' random streams.
        stop_malformed: in training, end a completion as truncated once nothing that may follow makes it well-formed.
            It saves the tokens that follow, and gives up what such a completion might still have earned: an answer in
            a wrong form.
    """

    max_new_tokens: int = 512
    temperature: float = 1.0
    seed: int = 0
    stop_malformed: bool = False

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"sampling.max_new_tokens: expected at least 1 token, got {self.max_new_tokens}")
        if self.temperature <= 0:
            raise ValueError(f"sampling.temperature: expected a value above 0, got {self.temperature}")


@dataclass(frozen=True)
class Draw:
    """What is asked of an engine beside prompts: how many completions, and from which streams."""

    group_size: int
    """G, completions a prompt."""
    sampling: Sampling
    keys: Sequence[ItemKey]
    """Each prompt's item key (see ``streams``)."""
    label_ids: LabelIds = ()
    """Labels whose unscaled logits are kept at every step."""
    first: int = 0
    """Index of the first of the G completions of each prompt, where others were drawn before."""
    hopeless: Callable[[Sequence[int]], bool] | None = None
    """Whether a completion that begins with these token ids is to be ended; once it is, it stays so, whatever follows.
    None ends none."""
    anywhere: Callable[[bool], bool] | None = None
    """Whether this rank's word holds on any rank. Given where every step needs all ranks: then one that has finished
    decodes on with the others, to no effect."""


class RolloutEngine(ABC):
    """Draws completions from the policy."""

    def prompt_copies(self, group_size: int) -> int:
        """Copies of a prompt's keys and values that are kept for a group of so many completions."""
        return 1

    @abstractmethod
    def draw(self, backbone: Backbone, prompts: PromptBatch, features_MD: Tensor, asked: Draw) -> Completions:
        """Draw G completions for each of P prompts.

        Args:
            backbone: the policy, in eval mode.
            prompts: P prompts.
            features_MD: their image features.
            asked: how many, and from which streams.

        Returns:
            N = P x G completions.

        Raises:
            RuntimeError: the policy is in training mode, where dropout would make its ratios meaningless.
            FloatingPointError: the policy's logits are NaN or infinite.
        """


class Sampler:
    """Draws tokens from logits, as training scores them: the same mask, the same temperature.

    Args:
        vocabulary: its suppressed ids and the ids beyond its size are never drawn.
        temperature: logits are divided by it.
    """

    def __init__(self, vocabulary: Vocabulary, temperature: float) -> None:
        self.vocabulary = vocabulary
        self.temperature = temperature
        self._never_V: Tensor | None = None

    def __call__(self, logits_NV: Tensor, uniform_N: Tensor) -> Tensor:
        """One token a row by inversion of the cumulative distribution.

        Args:
            logits_NV: unscaled logits.
            uniform_N: a number in [0, 1) for each row.

        Returns:
            token ids ``[N]``.
        """
        if self._never_V is None:
            self._never_V = suppression_mask(
                logits_NV.shape[1], self.vocabulary.suppressed_ids, vocabulary_size=self.vocabulary.size
            ).to(logits_NV.device)
        scaled = (logits_NV.float() / self.temperature).masked_fill(self._never_V, SUPPRESSED_LOGIT)
        return by_inversion(scaled.softmax(-1), uniform_N)


def by_inversion(p_NV: Tensor, uniform_N: Tensor, *, on_cpu: bool | None = None) -> Tensor:
    """The outcome of each row at which its cumulative distribution first exceeds a uniform number.

    It is added up in float64: of a vocabulary of 152,064 float32 would lose the rare tokens.

    Args:
        p_NV: probabilities, float32; a row's sum need not be exactly 1.
        uniform_N: a number in [0, 1) for each row.
        on_cpu: add up on the CPU, which waits for the device; by default where the device has no float64.

    Returns:
        indices ``[N]`` on the device of ``p_NV``.
    """
    device = p_NV.device
    if _lacks_float64(device) if on_cpu is None else on_cpu:
        p_NV, uniform_N = p_NV.cpu(), uniform_N.cpu().double()
    cumulative = p_NV.double().cumsum(-1)
    return torch.searchsorted(cumulative, (uniform_N * cumulative[:, -1])[:, None], right=True).flatten().to(device)


def uniforms_on(device: torch.device, uniforms: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) on a device: in float64, or in float32 where the device has no other.

    Args:
        device: where to.
        uniforms: float64, on the CPU.
    """
    return (float32_below_1(uniforms) if _lacks_float64(device) else uniforms).to(device)


def float32_below_1(uniforms: Tensor) -> Tensor:
    """Numbers in [0, 1) in float32: none is rounded up to 1, which would lie beyond every cumulative distribution."""
    largest = 1 - torch.finfo(torch.float32).eps / 2
    return uniforms.float().clamp(max=largest)


def _lacks_float64(device: torch.device) -> bool:
    return device.type == "mps"


def refuse_training_mode(backbone: Backbone) -> None:
    """Rollouts are drawn in eval mode.

    Raises:
        RuntimeError: the policy is in training mode.
    """
    if backbone.training:
        raise RuntimeError("rollout needs the policy in eval mode: dropout would make its ratios meaningless")


def refuse_no_numbers(finite: bool) -> None:
    """What was drawn from logits that are no numbers is no completion.

    Raises:
        FloatingPointError: the logits were not finite.
    """
    if not finite:
        raise FloatingPointError("the policy's logits are NaN or infinite: its weights are no use any more")


def completions_of(
    ids_NT: Tensor, labels_NTL: Tensor, ended_N: Tensor, cut_at_N: Tensor, vocabulary: Vocabulary
) -> Completions:
    """The record of what was drawn, cut to the longest.

    Args:
        ids_NT: tokens; what stands after a completion's end is not read.
        labels_NTL: the labels' logits.
        ended_N: whether a completion has ended, by itself or from outside.
        cut_at_N: tokens after which it was ended from outside; T where it was not.
        vocabulary: its end tokens and padding (which may be an end token too).
    """
    is_end_NT = torch.isin(ids_NT, torch.tensor(vocabulary.end_ids, device=ids_NT.device)).long()
    within_NT = torch.arange(ids_NT.shape[1], device=ids_NT.device) < cut_at_N[:, None]
    mask_NT = ((is_end_NT.cumsum(1) - is_end_NT) == 0) & within_NT
    longest = int(mask_NT.sum(1).max())
    return Completions(
        ids_NT=ids_NT.masked_fill(~mask_NT, vocabulary.pad_id)[:, :longest],
        mask_NT=mask_NT[:, :longest],
        truncated_N=~ended_N | (cut_at_N < ids_NT.shape[1]),
        label_logits_NTL=labels_NTL[:, :longest],
    )
