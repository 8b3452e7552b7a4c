"""GRPO with a listener: the papers' training, one rollout and its updates a step.

``training_step`` reads as the method: ask, roll out, read, score by the reference, hear the listener, reward, compare
within groups, update (Gambashidze et al. 2025, sections 3.3 and 4.3). The mathematics is in ``objective``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from lit_listener.data.records import Demonstration, ShownPair
from lit_listener.objective import (
    PolicyLoss,
    group_advantages,
    listener_reward,
    loss_denominator,
    policy_loss,
    shaped_reward,
)
from lit_listener.objective.advantages import AdvantageScale
from lit_listener.objective.policy_loss import ImportanceLevel, LossNormalizer
from lit_listener.tasks import Transcript
from lit_listener.training.asked import Asked
from lit_listener.training.reasoner import Reasoner
from lit_listener.training.step_report import Rewards, StepTimes, UpdateTotals, step_metrics
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.listeners import Heard
from lit_listener.vlm.packing import pack


@dataclass(frozen=True)
class RewardWeights:
    """Weights of Eq. 5's terms; the format term has weight 1.

    Args:
        accuracy: weight of the right answer; at least 0.
        listener: weight of max(0, p_corr - 0.5); 0 is plain GRPO.
    """

    accuracy: float = 0.5
    listener: float = 0.5

    def __post_init__(self) -> None:
        for name in ("accuracy", "listener"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"model.reward.{name}: expected a weight of at least 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class Objective:
    """The options of Eqs. 1 and 2.

    Args:
        kl_weight: weight of the KL penalty towards the reference (lambda); at least 0.
        clip_low: the ratio is clipped below at 1 - clip_low; at least 0.
        clip_high: the ratio is clipped above at 1 + clip_high; at least 0.
        normalizer: sequence (GRPO), token (DAPO, over the whole optimizer step) or constant (Dr. GRPO).
        importance: ratio a token, or a sequence (GSPO).
        advantage_scale: divide advantages by the group's deviation (std), the batch's (batch) or nothing (none).
        epsilon: added to the deviation, in units of reward; at least 0.
    """

    kl_weight: float = 0.04
    clip_low: float = 0.2
    clip_high: float = 0.2
    normalizer: LossNormalizer = "sequence"
    importance: ImportanceLevel = "token"
    advantage_scale: AdvantageScale = "std"
    epsilon: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("kl_weight", "clip_low", "clip_high", "epsilon"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"model.objective.{name}: expected at least 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class Updates:
    """How a rollout is used.

    Args:
        epochs: times that the policy is updated on one rollout.
        minibatches: optimizer steps an epoch; a rollout's prompts are dealt out among them.
        micro_batch_prompts: prompts (each with its whole group) a packed pass; None takes a minibatch at once. Bounds
            memory and changes no result.
    """

    epochs: int = 1
    minibatches: int = 1
    micro_batch_prompts: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "minibatches", "micro_batch_prompts"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"model.updates.{name}: expected at least 1, got {value}")

    @property
    def on_policy(self) -> bool:
        """Whether the one update's policy is the one that sampled: then old log-probs are the new ones, detached."""
        return self.epochs == 1 and self.minibatches == 1


class ListenerGRPO(Reasoner):
    """Trains the policy with GRPO on the listener-shaped reward.

    Args:
        group_size: G, completions a prompt; at least 2, since a reward is compared with its group's mean.
        reward: weights of the reward's terms.
        objective: options of advantages and loss.
        updates: update epochs, minibatches and micro-batches.
        kwargs: options of the reasoner.
    """

    def __init__(
        self,
        *args: Any,
        group_size: int = 10,
        reward: RewardWeights = RewardWeights(),  # frozen
        objective: Objective = Objective(),  # frozen
        updates: Updates = Updates(),  # frozen
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if group_size < 2:
            raise ValueError(
                f"model.group_size: expected at least 2 completions a prompt, got {group_size}: a reward is compared "
                "with the mean of its group, so a group of one teaches nothing"
            )
        self.automatic_optimization = False
        self.group_size = group_size
        self.reward_weights = reward
        self.objective = objective
        self.updates = updates

    @property
    def optimizer_steps_per_batch(self) -> int:
        """Optimizer steps that follow one rollout."""
        return self.updates.epochs * self.updates.minibatches

    def training_step(self, batch: Sequence[ShownPair], batch_idx: int) -> None:
        """One rollout of P prompts x G completions, and the updates on it."""
        times = StepTimes(perf_counter())
        self._check(batch)
        asked = self.ask(batch, [(pair.epoch, pair.index) for pair in batch])
        completions = self.roll_out(asked, self.group_size)
        transcripts = self.read(completions)
        times.rollout = times.lap()
        reference = self.reference_scores(asked, completions, transcripts)
        heard = self.hear(self.listener, asked, completions, transcripts, reference)
        times.reference = times.lap()
        rewards = self.reward(asked, transcripts, heard)
        advantages_PG = group_advantages(
            rewards.total_N.view(-1, self.group_size),
            epsilon=self.objective.epsilon,
            scale=self.objective.advantage_scale,
        )
        totals = self.update(asked, completions, reference.log_probs_NT, advantages_PG.flatten().to(self.device))
        times.update = times.lap()
        metrics = step_metrics(rewards, heard, transcripts, completions, totals, times, self.group_size)
        self.log_dict(metrics, batch_size=len(batch))
        self.log("p_correct", metrics["listener/p_correct"], prog_bar=True, logger=False)
        self.log("reward", metrics["reward/total"], prog_bar=True, logger=False)
        self.last_step = (asked.shown, transcripts, rewards, heard)

    def reward(self, asked: Asked, transcripts: Sequence[Transcript], heard: Heard) -> Rewards:
        """Eq. 5 for every completion."""
        labels = [pair.label for pair in asked.shown for _ in range(self.group_size)]
        known = [label for label in labels if label is not None]  # ties were refused
        format_N = torch.tensor(self.task.format_reward(transcripts))
        accuracy_N = torch.tensor(self.task.accuracy_reward(transcripts, known))
        p_correct_N = heard.p_correct_N(torch.tensor(known))
        return Rewards(
            format_N=format_N,
            accuracy_N=accuracy_N,
            listener_N=listener_reward(p_correct_N, heard.readable_N),
            total_N=shaped_reward(
                format_N,
                accuracy_N,
                p_correct_N,
                heard.readable_N,
                accuracy_weight=self.reward_weights.accuracy,
                listener_weight=self.reward_weights.listener,
            ),
            p_correct_N=p_correct_N,
        )

    def update(
        self, asked: Asked, completions: Completions, reference_NT: Tensor, advantages_N: Tensor
    ) -> UpdateTotals:
        """Optimizer steps on one rollout; every minibatch's loss is normalised over all of it."""
        optimizer: Any = self.optimizers()
        scheduler: Any = self.lr_schedulers()
        self.policy.train()
        old_NT = None if self.updates.on_policy else self._log_probs(asked, completions)
        totals = UpdateTotals()
        for _ in range(self.updates.epochs):
            for step in _shares(len(asked.shown), self.updates.minibatches):
                optimizer.zero_grad()
                denominator = loss_denominator(
                    completions.mask_NT[self._rows(step)], self.objective.normalizer, self.sampling.max_new_tokens
                )
                for micro in _slices(step, self.updates.micro_batch_prompts):
                    result, entropy = self._loss(
                        asked.select(micro),
                        completions.select(self._rows(micro)),
                        None if old_NT is None else old_NT[self._rows(micro)],
                        reference_NT[self._rows(micro)],
                        advantages_N[self._rows(micro)],
                        denominator,
                    )
                    self.manual_backward(result.loss)
                    totals.add(result, entropy)
                totals.add_step(self.clip_to_norm())
                optimizer.step()
                scheduler.step()
        self.policy.eval()
        return totals

    def _loss(
        self,
        asked: Asked,
        completions: Completions,
        old_NT: Tensor | None,
        reference_NT: Tensor,
        advantages_N: Tensor,
        denominator: Tensor,
    ) -> tuple[PolicyLoss, Tensor]:
        """Eq. 2 on some of the completions, and their mean entropy; other rows' padding is cut off."""
        longest = completions.ids_NT.shape[1]
        scores = self.policy.score(
            pack(asked.prompts, completions),
            asked.features_MD if self._vision_frozen else self.policy.image_features(asked.prompts),
            temperature=self.sampling.temperature,
        )
        result = policy_loss(
            scores.log_probs_NT,
            scores.log_probs_NT.detach() if old_NT is None else old_NT[:, :longest],
            reference_NT[:, :longest],
            advantages_N,
            completions.mask_NT,
            clip_low=self.objective.clip_low,
            clip_high=self.objective.clip_high,
            kl_weight=self.objective.kl_weight,
            normalizer=self.objective.normalizer,
            importance=self.objective.importance,
            denominator=denominator,
        )
        return result, scores.entropy_NT.detach()[completions.mask_NT].mean()

    @torch.no_grad()
    def _log_probs(self, asked: Asked, completions: Completions) -> Tensor:
        """The sampling policy's log-probs, in the same passes as the updates will make them."""
        old_NT = torch.zeros(completions.ids_NT.shape, device=self.device)
        for step in _shares(len(asked.shown), self.updates.minibatches):
            for micro in _slices(step, self.updates.micro_batch_prompts):
                part, answers = asked.select(micro), completions.select(self._rows(micro))
                old_NT[self._rows(micro), : answers.ids_NT.shape[1]] = self.policy.score(
                    pack(part.prompts, answers), part.features_MD, temperature=self.sampling.temperature
                ).log_probs_NT
        return old_NT

    def _check(self, batch: Sequence[ShownPair]) -> None:
        """Refuse what GRPO cannot learn from, before any time is spent on it."""
        if len(batch) < self.updates.minibatches:
            raise ValueError(
                f"model.updates.minibatches: {self.updates.minibatches} optimizer steps an epoch need as many prompts, "
                f"got a batch of {len(batch)}; lower it, or raise data.batch_size"
            )
        for pair in batch:
            if isinstance(pair, Demonstration):
                raise ValueError(  # noqa: TRY004  # an option is wrong, not an argument's type
                    "data.traces: GRPO learns from its own thoughts, not from given ones; remove it"
                )
            if pair.label is None:
                raise ValueError(f"pair {pair.pair.pair_id} is a tie: it has no right image; drop ties from data.train")

    def _rows(self, prompts: slice) -> slice:
        """The completions of some prompts."""
        return slice(prompts.start * self.group_size, prompts.stop * self.group_size)

    @property
    def _vision_frozen(self) -> bool:
        return not self.policy_spec.train_vision


def _shares(count: int, parts: int) -> Iterator[slice]:
    """0 … count - 1 dealt out among ``parts`` slices whose sizes differ by one at most."""
    return (slice(count * part // parts, count * (part + 1) // parts) for part in range(parts))


def _slices(whole: slice, size: int | None) -> Iterator[slice]:
    """A slice cut into slices of ``size``, the last one shorter where it does not divide; None does not cut."""
    size = size or whole.stop - whole.start
    return (slice(at, min(at + size, whole.stop)) for at in range(whole.start, whole.stop, size))
