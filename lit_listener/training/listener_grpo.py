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

from lit_listener.data.records import ShownPair
from lit_listener.objective import group_advantages, listener_reward, loss_denominator, policy_loss, shaped_reward
from lit_listener.objective.advantages import AdvantageScale
from lit_listener.objective.policy_loss import ImportanceLevel, LossNormalizer
from lit_listener.tasks import Transcript
from lit_listener.training.reasoner import Asked, Reasoner
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
            if getattr(self, name) < 0:
                raise ValueError(f"model.reward.{name}: expected a weight of at least 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class Objective:
    """The options of Eqs. 1 and 2.

    Args:
        kl_weight: weight of the KL penalty towards the reference (lambda); at least 0.
        clip_low: the ratio is clipped below at 1 - clip_low.
        clip_high: the ratio is clipped above at 1 + clip_high.
        normalizer: sequence (GRPO), token (DAPO, over the whole optimizer step) or constant (Dr. GRPO).
        importance: ratio a token, or a sequence (GSPO).
        advantage_scale: divide advantages by the group's deviation (std), the batch's (batch) or nothing (none).
        epsilon: added to the deviation.
    """

    kl_weight: float = 0.04
    clip_low: float = 0.2
    clip_high: float = 0.2
    normalizer: LossNormalizer = "sequence"
    importance: ImportanceLevel = "token"
    advantage_scale: AdvantageScale = "std"
    epsilon: float = 1e-4


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
        asked = self.ask(batch, [(pair.epoch, pair.index) for pair in batch])
        completions = self.roll_out(asked, self.group_size)
        transcripts = self.read(completions)
        times.rollout = times.lap()
        reference = self.reference_scores(asked, completions, transcripts)
        heard = self.hear(asked, completions, transcripts, reference)
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
        for pair in asked.shown:
            if pair.label is None:
                raise ValueError(f"pair {pair.pair.pair_id} is a tie: it has no right image; drop ties from data.train")
        known = [label for label in labels if label is not None]
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
            for step in _slices(len(asked.shown), -(-len(asked.shown) // self.updates.minibatches)):
                optimizer.zero_grad()
                rows = self._rows(step)
                denominator = loss_denominator(
                    completions.mask_NT[rows], self.objective.normalizer, self.sampling.max_new_tokens
                )
                for micro in _slices(step.stop, self.updates.micro_batch_prompts or step.stop - step.start, step.start):
                    rows = self._rows(micro)
                    part, answers = asked.select(micro), completions.select(rows)
                    features_MD = part.features_MD if self._vision_frozen else self.policy.image_features(part.prompts)
                    scores = self.policy.score(
                        pack(part.prompts, answers), features_MD, temperature=self.sampling.temperature
                    )
                    result = policy_loss(
                        scores.log_probs_NT,
                        scores.log_probs_NT.detach() if old_NT is None else old_NT[rows],
                        reference_NT[rows],
                        advantages_N[rows],
                        answers.mask_NT,
                        clip_low=self.objective.clip_low,
                        clip_high=self.objective.clip_high,
                        kl_weight=self.objective.kl_weight,
                        normalizer=self.objective.normalizer,
                        importance=self.objective.importance,
                        denominator=denominator,
                    )
                    self.manual_backward(result.loss)
                    totals.add(result, scores.entropy_NT.detach()[answers.mask_NT].mean())
                norm = torch.nn.utils.clip_grad_norm_(self._trained_parameters(), self.gradient_clip_norm)
                totals.add_step(norm)
                optimizer.step()
                scheduler.step()
        return totals

    @torch.no_grad()
    def _log_probs(self, asked: Asked, completions: Completions) -> Tensor:
        """The sampling policy's log-probs, in the same passes as the updates will make them."""
        size = self.updates.micro_batch_prompts or len(asked.shown)
        return torch.cat(
            [
                self.policy.score(
                    pack(asked.select(micro).prompts, completions.select(self._rows(micro))),
                    asked.select(micro).features_MD,
                    temperature=self.sampling.temperature,
                ).log_probs_NT
                for micro in _slices(len(asked.shown), size)
            ]
        )

    def _rows(self, prompts: slice) -> slice:
        """The completions of some prompts."""
        return slice(prompts.start * self.group_size, prompts.stop * self.group_size)

    @property
    def _vision_frozen(self) -> bool:
        return not self.policy_spec.train_vision

    def _trained_parameters(self) -> list[Tensor]:
        return [p for p in self.policy.parameters() if p.requires_grad]


def _slices(stop: int, size: int, start: int = 0) -> Iterator[slice]:
    return (slice(at, min(at + size, stop)) for at in range(start, stop, size))
