"""GRPO with a listener: the papers' training, one rollout and its updates a step.

``training_step`` and ``collect`` read as the method: ask, roll out, read, score by the reference, hear the listener,
reward, compare within groups, update (Gambashidze et al. 2025, sections 3.3 and 4.3). The mathematics is in
``objective``.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor

from lit_listener.data.records import Shown
from lit_listener.objective import PolicyLoss, group_advantages, loss_denominator
from lit_listener.tasks import Transcript
from lit_listener.training.grpo_options import Objective, RewardWeights, Updates, check_batch, check_labels
from lit_listener.training.grpo_update import pass_loss
from lit_listener.training.reasoner import Reasoner
from lit_listener.training.rewards import Judged, Rewards, RewardTerm, total_reward
from lit_listener.training.rollout_state import RolledOut, Unfinished
from lit_listener.training.step_report import (
    StepOutcome,
    StepTimes,
    StepTrail,
    UpdateTotals,
    require_finite,
    step_metrics,
)
from lit_listener.training.stopping import StopRequested
from lit_listener.vlm import ranks
from lit_listener.vlm.asked import Asked, packed_scores
from lit_listener.vlm.backbone import Scores
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.listeners import Heard
from lit_listener.vlm.passes import Done, Pass


class ListenerGRPO(Reasoner):
    """Trains the policy with GRPO on the listener-shaped reward.

    Args:
        group_size: G, completions a prompt; at least 2, since a reward is compared with its group's mean.
        reward: weights of the terms of Eq. 5.
        reward_terms: further terms of the reward, by the name that their metric ``reward/<name>`` has; each is a class
            of lit_listener.training.rewards or one of your own.
        objective: options of advantages and loss.
        updates: update epochs and minibatches.
        kwargs: options of the reasoner.
    """

    def __init__(
        self,
        *args: Any,
        group_size: int = 10,
        reward: RewardWeights = RewardWeights(),  # noqa: B008  # frozen
        reward_terms: dict[str, RewardTerm] | None = None,
        objective: Objective = Objective(),  # noqa: B008  # frozen
        updates: Updates = Updates(),  # noqa: B008  # frozen
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
        self.reward_terms = reward.terms(reward_terms or {})
        self.objective = objective
        self.updates = updates
        self.trail = StepTrail()
        self.unfinished: Unfinished | None = None

    @property
    def optimizer_steps_per_batch(self) -> int:
        """Optimizer steps that follow one rollout."""
        return self.updates.epochs * self.updates.minibatches

    def training_step(self, batch: Sequence[Shown], batch_idx: int) -> None:
        """One rollout of P prompts x G completions, and the updates on it."""
        times = StepTimes(perf_counter())
        check_batch(batch, self.updates)
        asked = self.ask(batch, [(shown.epoch, shown.index) for shown in batch])
        check_labels(asked.shown, asked.labels)
        step = self._taken_up(asked) if self.unfinished else Unfinished(self.collect(asked, times), UpdateTotals())
        self.update(asked, step)
        times.update = times.lap()
        metrics = step_metrics(
            step.rolled.outcome.of_all_ranks(),
            tuple(self.reward_terms),
            step.totals.of_all_ranks(),
            times,
            self.group_size,
        )
        self.trail.metrics = metrics
        self.log_dict(metrics, batch_size=len(batch))
        self.log("p_correct", metrics["listener/p_correct"], prog_bar=True, logger=False)
        self.log("reward", metrics["reward/total"], prog_bar=True, logger=False)

    def collect(self, asked: Asked, times: StepTimes) -> RolledOut:
        """Roll out, read, score by the reference, hear the listener, reward, and compare within groups."""
        trail = self.trail = StepTrail(asked.shown, asked.labels)
        trail.completions = completions = self.roll_out(
            asked, self.group_size, self.hopeless if self.sampling.stop_malformed else None
        )
        trail.transcripts = transcripts = self.read(completions)
        times.rollout = times.lap()
        trail.reference = reference = self.reference_scores(asked, completions, transcripts)
        require_finite("the reference's log-probabilities", reference.log_probs_NT[completions.mask_NT])
        trail.heard = heard = self.hear(self.listener, asked, completions, transcripts, reference)
        require_finite("the listener's probabilities", heard.p_label_NL[heard.readable_N])
        times.reference = times.lap()
        trail.rewards = rewards = self.reward(asked, completions, transcripts, heard)
        require_finite("rewards", rewards.total_N)
        trail.advantages_N = advantages_N = self.advantages(rewards).to(self.device)
        return RolledOut(
            keys=asked.keys,
            completions=completions,
            reference_NT=reference.log_probs_NT,
            old_NT=None if self.updates.on_policy else self._log_probs(asked, completions),
            advantages_N=advantages_N,
            outcome=StepOutcome.of(rewards, heard, transcripts, completions),
        )

    def advantages(self, rewards: Rewards) -> Tensor:
        """Eq. 1 over the groups of all ranks, since a deviation may be the batch's; this rank's share of it."""
        groups = len(rewards.total_N) // self.group_size
        total_PG = ranks.dealt_together(rewards.total_N, groups).view(-1, self.group_size)
        advantages_PG = group_advantages(total_PG, epsilon=self.objective.epsilon, scale=self.objective.advantage_scale)
        return ranks.own_share(advantages_PG.flatten(), groups)

    def reward(
        self, asked: Asked, completions: Completions, transcripts: Sequence[Transcript], heard: Heard
    ) -> Rewards:
        """Eq. 5 for every completion, and what further terms add."""
        judged = Judged(
            task=self.task,
            shown=[shown for shown in asked.shown for _ in range(len(transcripts) // len(asked.shown))],
            transcripts=transcripts,
            heard=heard,
            own_p_label_NL=completions.p_label_at([transcript.answer_token for transcript in transcripts]),
            lengths_N=completions.lengths_N.cpu(),
            truncated_N=completions.truncated_N.cpu(),
            max_new_tokens=self.sampling.max_new_tokens,
            step=self.global_step,
        )
        return total_reward(self.reward_terms, judged)

    def update(self, asked: Asked, step: Unfinished) -> None:
        """The optimizer steps on one rollout that are left; every minibatch's loss is normalised over all of it.

        Raises:
            StopRequested: the run was asked to stop, and steps are left; they are kept as ``unfinished``.
        """
        shares = list(_shares(len(asked.shown), self.updates.minibatches)) * self.updates.epochs
        self.policy.train()
        for share in shares[step.totals.steps :]:
            if step.totals.steps and ranks.any_rank(self.stop_requested):
                self.unfinished = step
                raise StopRequested
            self._optimizer_step(asked, step, share)
        self.unfinished = None
        self.policy.eval()

    def _optimizer_step(self, asked: Asked, step: Unfinished, share: slice) -> None:
        """One step on some of the prompts, pass by pass."""
        optimizer: Any = self.optimizers()
        scheduler: Any = self.lr_schedulers()
        counted = loss_denominator(
            step.rolled.completions.mask_NT[self._rows(share)], self.objective.normalizer, self.sampling.max_new_tokens
        )
        denominator = ranks.summed(counted) / ranks.world_size()  # ranks' gradients are averaged, not summed

        def gradients(passes: Sequence[Pass]) -> UpdateTotals:
            optimizer.zero_grad()
            totals = replace(step.totals)  # as it was, if this is begun again
            for each in passes:
                result, entropy = self._loss(asked, step.rolled, each, denominator)
                require_finite("the loss", result.loss)
                with contextlib.nullcontext() if each is passes[-1] else self._gradients_summed_later():
                    self.manual_backward(result.loss)
                totals.add(result, entropy)
            return totals

        step.totals = self._in_passes(gradients, asked, step.rolled.completions, share)
        step.totals.add_step(self.clip_to_norm())
        optimizer.step()
        optimizer.zero_grad()  # the next rollout can use their memory
        scheduler.step()

    def _loss(self, asked: Asked, rolled: RolledOut, each: Pass, denominator: Tensor) -> tuple[PolicyLoss, Tensor]:
        """Eq. 2 on the completions of a pass, and their mean entropy."""
        scores = packed_scores(
            self.policy,
            asked,
            rolled.completions,
            each,
            self.sampling.temperature,
            encode_images=self.policy_spec.train_vision,
        )
        return pass_loss(scores, rolled, each, self.objective, denominator)

    @torch.no_grad()
    def _log_probs(self, asked: Asked, completions: Completions) -> Tensor:
        """The sampling policy's log-probs, in the same passes as the updates will make them."""
        self.policy.train()

        def score(passes: Sequence[Pass]) -> list[Scores]:
            return [packed_scores(self.policy, asked, completions, each, self.sampling.temperature) for each in passes]

        shares = _shares(len(asked.shown), self.updates.minibatches)
        parts = [part for share in shares for part in self._in_passes(score, asked, completions, share)]
        return Scores.joined(parts, completions.ids_NT.shape[1]).log_probs_NT

    def _in_passes(
        self, work: Callable[[Sequence[Pass]], Done], asked: Asked, completions: Completions, share: slice
    ) -> Done:
        """Do work on the completions of some prompts in passes that fit."""
        rows = self._rows(share)
        return self.budget(
            lambda passes: work([each.moved(share.start, rows.start) for each in passes]),
            asked.prompts.lengths_P[share].tolist(),
            completions.lengths_N[rows].tolist(),
        )

    def _taken_up(self, asked: Asked) -> Unfinished:
        """The rollout that a resumed run stopped in the middle of.

        Raises:
            ValueError: it was one of other pairs than are asked about now.
        """
        assert self.unfinished is not None
        rolled = self.unfinished.rolled
        if rolled.keys != asked.keys:
            raise ValueError(
                f"the run stopped in the middle of a rollout on the pairs (epoch, index) {rolled.keys}, but its data "
                f"now begins with {asked.keys}; resume with the same data and batch size"
            )
        step = Unfinished(rolled.to(self.device), self.unfinished.totals)
        outcome = rolled.outcome
        self.trail = StepTrail(
            shown=asked.shown,
            labels=asked.labels,
            completions=step.rolled.completions,
            transcripts=self.read(step.rolled.completions),
            heard=Heard(outcome.p_label_NL, outcome.readable_N, outcome.discarded_mass_N),
            rewards=Rewards(
                names=tuple(self.reward_terms),
                terms_NK=outcome.terms_NK,
                weights_K=torch.tensor([term.weight_at(self.global_step) for term in self.reward_terms.values()]),
                total_N=outcome.total_N,
                p_correct_N=outcome.p_correct_N,
            ),
            advantages_N=rolled.advantages_N,
        )
        return step

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the rollout whose updates are not done, if there is one."""
        super().on_save_checkpoint(checkpoint)
        if self.unfinished is not None:
            checkpoint["unfinished_rollout"] = self.unfinished.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again."""
        super().on_load_checkpoint(checkpoint)
        if "unfinished_rollout" in checkpoint:
            self.unfinished = Unfinished.from_state_dict(checkpoint["unfinished_rollout"])

    def _gradients_summed_later(self) -> contextlib.AbstractContextManager[None]:
        """Keep replicas from exchanging gradients after a micro-batch that is not the step's last."""
        strategy = self.trainer.strategy
        return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else contextlib.nullcontext()

    def _rows(self, prompts: slice) -> slice:
        """The completions of some prompts."""
        return slice(prompts.start * self.group_size, prompts.stop * self.group_size)


def _shares(count: int, parts: int) -> Iterator[slice]:
    """0 … count - 1 dealt out among ``parts`` slices whose sizes differ by one at most."""
    return (slice(count * part // parts, count * (part + 1) // parts) for part in range(parts))
