"""What a GRPO step tells of itself: the records it fills, and the metrics made of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

import torch
from torch import Tensor

from lit_listener.data.shown import Shown
from lit_listener.objective import PolicyLoss, zero_variance_groups
from lit_listener.tasks import Transcript
from lit_listener.training.rewards import Rewards
from lit_listener.vlm import ranks
from lit_listener.vlm.backbone import Scores
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import TensorRecord
from lit_listener.vlm.listeners import Heard


@dataclass(frozen=True)
class StepOutcome(TensorRecord):
    """What became of each completion, in numbers: all that a step's metrics are made of, but for the updates."""

    terms_NK: Tensor
    """The terms of the reward, unweighted."""
    total_N: Tensor
    p_correct_N: Tensor
    p_label_NL: Tensor
    """The listener's probability of each label."""
    own_p_label_NL: Tensor
    """The reasoner's own."""
    readable_N: Tensor
    """True where there is an answer's place, and so a word of the listener."""
    discarded_mass_N: Tensor
    length_N: Tensor
    truncated_N: Tensor
    answered_N: Tensor
    """True where an answer could be read."""

    @classmethod
    def of(
        cls, rewards: Rewards, heard: Heard, transcripts: Sequence[Transcript], completions: Completions
    ) -> "StepOutcome":
        """Put together what the step computed."""
        return cls(
            terms_NK=rewards.terms_NK,
            total_N=rewards.total_N,
            p_correct_N=rewards.p_correct_N,
            p_label_NL=heard.p_label_NL,
            own_p_label_NL=completions.p_label_at([transcript.answer_token for transcript in transcripts]),
            readable_N=heard.readable_N,
            discarded_mass_N=heard.discarded_mass_N,
            length_N=completions.lengths_N.cpu(),
            truncated_N=completions.truncated_N.cpu(),
            answered_N=torch.tensor([transcript.answer is not None for transcript in transcripts]),
        )

    def of_all_ranks(self) -> "StepOutcome":
        """The completions of every rank."""
        return StepOutcome(**{name: ranks.gathered(tensor) for name, tensor in vars(self).items()})


@dataclass
class StepTrail:
    """What a step has computed so far, for who looks at it: sample tables, alarms, a post-mortem. None: not yet."""

    shown: Sequence[Shown] | None = None
    labels: Sequence[int | None] | None = None
    completions: Completions | None = None
    transcripts: Sequence[Transcript] | None = None
    reference: Scores | None = None
    heard: Heard | None = None
    rewards: Rewards | None = None
    advantages_N: Tensor | None = None
    metrics: dict[str, float] | None = None


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

    @property
    def steps(self) -> int:
        """Optimizer steps so far."""
        return len(self.grad_norms)

    def of_all_ranks(self) -> "UpdateTotals":
        """The sums over all ranks' completions; a loss is one rank's share of the whole, times the number of ranks."""
        return UpdateTotals.from_sums(ranks.summed(self.sums()), self.grad_norms, share=1 / ranks.world_size())

    def sums(self) -> Tensor:
        """Loss, KL, clipped, entropy and tokens, in this order."""
        return torch.tensor([self.loss, self.kl, self.clipped, self.entropy, self.tokens], dtype=torch.float64)

    @classmethod
    def from_sums(cls, sums: Tensor, grad_norms: Sequence[float], *, share: float = 1.0) -> "UpdateTotals":
        """What ``sums`` gave, the loss multiplied by ``share``."""
        loss, kl, clipped, entropy, tokens = sums.tolist()
        return cls(loss * share, kl, clipped, entropy, tokens, list(grad_norms))

    def metrics(self) -> dict[str, float]:
        """Means under the ``policy/`` keys; the loss is that of one optimizer step on average.

        They are over the tokens that were learnt from: without any, there are no means, and none of KL without a
        reference.
        """
        tokens = self.tokens or math.nan
        return {
            "policy/loss": self.loss / len(self.grad_norms),
            "policy/kl": self.kl / tokens,
            "policy/entropy": self.entropy / tokens,
            "policy/clip_share": self.clipped / tokens,
            "policy/grad_norm": sum(self.grad_norms) / len(self.grad_norms),
        }


def require_finite(what: str, tensor: Tensor) -> None:
    """Stop before a number that is none is learnt from.

    Raises:
        FloatingPointError: something of the tensor is NaN or infinite.
    """
    bad = ~tensor.isfinite()
    if bool(bad.any()):
        raise FloatingPointError(
            f"{what}: {int(bad.sum())} of {tensor.numel()} values are NaN or infinite, for instance "
            f"{float(tensor[bad][0])}: nothing was updated; lower the learning rate, or look at the batch for what "
            "went wrong"
        )


def step_metrics(
    outcome: StepOutcome, names: Sequence[str], totals: UpdateTotals, times: StepTimes, group_size: int
) -> dict[str, float]:
    """Every metric of a step, as plain numbers under their published keys.

    Args:
        outcome: all ranks' completions, groups side by side.
        names: of the reward's terms; one is ``listener``.
        totals: sums over all ranks.
        times: this rank's seconds.
        group_size: G.
    """
    total_PG = outcome.total_N.view(-1, group_size)
    even = zero_variance_groups(total_PG)
    terms = dict(zip(names, outcome.terms_NK.unbind(1), strict=True))
    others = [term.view(-1, group_size) for name, term in terms.items() if name != "listener"]
    others_even = torch.stack([zero_variance_groups(term_PG) for term_PG in others]).all(0)
    return {
        "reward/total": float(outcome.total_N.mean()),
        **{f"reward/{name}": float(term.mean()) for name, term in terms.items()},
        **_listener_metrics(outcome),
        "group/zero_variance_share": float(even.float().mean()),
        "group/reward_std": float(total_PG.std(1, correction=0).mean()),
        "group/listener_only_share": float((others_even & ~even).float().mean()),
        **totals.metrics(),
        "completion/length": float(outcome.length_N.float().mean()),
        "completion/truncated_share": float(outcome.truncated_N.float().mean()),
        "completion/unparsable_share": float((~outcome.answered_N).float().mean()),
        "time/rollout_s": times.rollout,
        "time/reference_s": times.reference,
        "time/update_s": times.update,
        "time/step_s": times.step,
        "throughput/completions_per_s": len(outcome.total_N) / times.step,
    }


def _listener_metrics(outcome: StepOutcome) -> dict[str, float]:
    """The listener's word over readable completions; NaN where none is."""
    readable = outcome.readable_N
    # || (s_1, s_2) of the listener - (s_1, s_2) of the reasoner ||_2, the disagreement of the paper's Figure 2
    disagreement_N = (outcome.p_label_NL - outcome.own_p_label_NL).norm(dim=1)
    p_correct = outcome.p_correct_N[readable]
    return {
        "listener/p_correct": float(p_correct.mean()),
        "listener/disagreement": float(disagreement_N[readable].mean()),
        "listener/below_half_share": float((p_correct < 0.5).float().mean()),
        "listener/discarded_mass": float(outcome.discarded_mass_N[readable].mean()),
    }
