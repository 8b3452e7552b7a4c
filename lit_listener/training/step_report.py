"""What a GRPO step tells of itself: the records it fills, and the metrics made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

import torch
from torch import Tensor

from lit_listener.objective import PolicyLoss, zero_variance_groups
from lit_listener.tasks import Transcript
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.listeners import Heard


@dataclass(frozen=True)
class Rewards:
    """The terms of Eq. 5, unweighted, and their weighted sum; one a completion."""

    format_N: Tensor
    accuracy_N: Tensor
    listener_N: Tensor
    total_N: Tensor
    p_correct_N: Tensor
    """The listener's p_corr; meaningless where unreadable."""


@dataclass
class StepTimes:
    """Seconds of a step's parts."""

    started: float
    rollout: float = 0.0
    reference: float = 0.0
    update: float = 0.0
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.started

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = perf_counter()
        elapsed, self._last = now - self._last, now
        return elapsed

    @property
    def step(self) -> float:
        """Seconds of the whole step so far."""
        return self._last - self.started


@dataclass
class UpdateTotals:
    """Sums over the micro-batches and optimizer steps of one rollout."""

    loss: float = 0.0
    kl: float = 0.0
    clipped: float = 0.0
    entropy: float = 0.0
    tokens: float = 0.0
    grad_norms: list[float] = field(default_factory=list)

    def add(self, result: PolicyLoss, entropy: Tensor) -> None:
        """Count a micro-batch in; token means are weighted by tokens."""
        tokens = float(result.tokens)
        self.loss += float(result.loss.detach())
        self.kl += float(result.kl) * tokens
        self.clipped += float(result.clip_share) * tokens
        self.entropy += float(entropy) * tokens
        self.tokens += tokens

    def add_step(self, grad_norm: Tensor) -> None:
        """Count an optimizer step in."""
        self.grad_norms.append(float(grad_norm))

    def metrics(self) -> dict[str, float]:
        """Means under the ``policy/`` keys; the loss is that of one optimizer step on average."""
        return {
            "policy/loss": self.loss / len(self.grad_norms),
            "policy/kl": self.kl / self.tokens,
            "policy/entropy": self.entropy / self.tokens,
            "policy/clip_share": self.clipped / self.tokens,
            "policy/grad_norm": sum(self.grad_norms) / len(self.grad_norms),
        }


def step_metrics(
    rewards: Rewards,
    heard: Heard,
    transcripts: Sequence[Transcript],
    completions: Completions,
    totals: UpdateTotals,
    times: StepTimes,
    group_size: int,
) -> dict[str, float]:
    """Every metric of a step, as plain numbers under their published keys."""
    total_PG = rewards.total_N.view(-1, group_size)
    even = zero_variance_groups(total_PG)
    strict_even = zero_variance_groups((rewards.format_N * 2 + rewards.accuracy_N).view(-1, group_size))
    return {
        "reward/total": float(rewards.total_N.mean()),
        "reward/format": float(rewards.format_N.mean()),
        "reward/accuracy": float(rewards.accuracy_N.mean()),
        "reward/listener": float(rewards.listener_N.mean()),
        **_listener_metrics(rewards, heard, transcripts, completions),
        "group/zero_variance_share": float(even.float().mean()),
        "group/reward_std": float(total_PG.std(1, correction=0).mean()),
        "group/listener_only_share": float((strict_even & ~even).float().mean()),
        **totals.metrics(),
        "completion/length": float(completions.lengths_N.float().mean()),
        "completion/truncated_share": float(completions.truncated_N.float().mean()),
        "completion/unparsable_share": sum(t.answer is None for t in transcripts) / len(transcripts),
        "time/rollout_s": times.rollout,
        "time/reference_s": times.reference,
        "time/update_s": times.update,
        "time/step_s": times.step,
        "throughput/completions_per_s": len(transcripts) / times.step,
    }


def _listener_metrics(
    rewards: Rewards, heard: Heard, transcripts: Sequence[Transcript], completions: Completions
) -> dict[str, float]:
    """The listener's word over readable completions; NaN where none is."""
    readable = heard.readable_N
    places = torch.tensor([transcript.answer_token or 0 for transcript in transcripts])
    own_NL = completions.label_logits_NTL.cpu()[torch.arange(len(places)), places].softmax(1)
    # || (s_1, s_2) of the listener - (s_1, s_2) of the reasoner ||_2, the disagreement of the paper's Figure 2
    disagreement_N = (heard.p_label_NL - own_NL).norm(dim=1)
    p_correct = rewards.p_correct_N[readable]
    return {
        "listener/p_correct": float(p_correct.mean()),
        "listener/disagreement": float(disagreement_N[readable].mean()),
        "listener/below_half_share": float((p_correct < 0.5).float().mean()),
        "listener/discarded_mass": float(heard.discarded_mass_N[readable].mean()),
    }
