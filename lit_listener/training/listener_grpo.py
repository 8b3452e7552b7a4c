"""GRPO with a listener: the papers' training, one rollout and its updates a step.

``training_step`` and ``collect`` read as the method: ask, roll out, read, score by the reference, hear the listener,
reward, compare within groups, update (Gambashidze et al. 2025, sections 3.3 and 4.3). The mathematics is in
``objective``.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor

from lit_listener.data.shown import Shown
from lit_listener.objective import loss_denominator
from lit_listener.tasks import Transcript
from lit_listener.training.groups import AllGroups, Groups, Sampled
from lit_listener.training.grpo_options import Objective, RewardWeights, Updates, check_batch
from lit_listener.training.grpo_update import pass_loss
from lit_listener.training.lesson import Lesson, lesson_of
from lit_listener.training.reasoner import Reasoner
from lit_listener.training.reference_use import KeepReference, ReferenceRefresh, use_of_reference
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
from lit_listener.vlm.passes import Pass


class ListenerGRPO(Reasoner):
    """Trains the policy with GRPO on the listener-shaped reward.

    Args:
        group_size: G, completions a prompt; at least 2, since a reward is compared with its group's mean.
        reward: weights of the terms of Eq. 5.
        reward_terms: further terms of the reward, by the name that their metric ``reward/<name>`` has; each is a class
            of lit_listener.training.rewards or one of your own.
        objective: options of advantages and loss.
        updates: update epochs and minibatches.
        groups: which groups a step learns from; by default all of its batch (AllGroups), else DynamicSampling.
        reference_refresh: takes the policy for the reference every so many optimizer steps (RefreshEvery); by default
            the reference is kept.
        kwargs: options of the reasoner.
    """

    def __init__(  # one option each keeps a config flat
        self,
        *args: Any,
        group_size: int = 10,
        reward: RewardWeights = RewardWeights(),  # noqa: B008  # frozen
        reward_terms: dict[str, RewardTerm] | None = None,
        objective: Objective = Objective(),  # noqa: B008  # frozen
        updates: Updates = Updates(),  # noqa: B008  # frozen
        groups: Groups | None = None,
        reference_refresh: ReferenceRefresh | None = None,
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
        self.groups = groups or AllGroups()
        self.reference_refresh = reference_refresh or KeepReference()
        self.use_of_reference = use_of_reference(self.listener, objective.kl_weight)
        self.reference_refresh.check(self.listener, objective.kl_weight)
        self.trail = StepTrail()
        self.unfinished: Unfinished | None = None

    @property
    def wants_reference(self) -> bool:
        """Whether there is a KL term, or a listener that reads the reference."""
        return self.objective.kl_weight > 0 or super().wants_reference

    @property
    def refreshes_reference(self) -> bool:
        """Whether the reference follows the policy."""
        return self.reference_refresh.refreshes

    @property
    def optimizer_steps_per_batch(self) -> int:
        """Optimizer steps that follow one rollout."""
        return self.updates.epochs * self.updates.minibatches

    def training_step(self, batch: Sequence[Shown], batch_idx: int) -> None:
        """One rollout of P prompts x G completions, and the updates on it."""
        times = StepTimes(perf_counter())
        check_batch(batch, self.updates, self.groups.learnt(len(batch)))
        for shown in batch:
            self.task.refuse_undecided(shown)
        asked = self.ask(batch, [(shown.epoch, shown.index) for shown in batch])
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
        self.trail.metrics = metrics = metrics | step.rolled.metrics() | self.listener.metrics()
        self.log_dict(metrics, batch_size=len(batch))
        self.log("p_correct", metrics["listener/p_correct"], prog_bar=True, logger=False)
        self.log("reward", metrics["reward/total"], prog_bar=True, logger=False)

    def collect(self, asked: Asked, times: StepTimes) -> RolledOut:
        """Sample groups until there are enough to learn from, and compare within them."""
        sample = partial(self.sample, times=times)
        found = self.groups.find(asked, sample, self.advantages, self.policy.vocabulary.pad_id)
        sampled, advantages_N = found.sampled, found.advantages_N.to(self.device)
        prompts = len(sampled.completions) // self.group_size
        self.trail = StepTrail(
            asked.shown[:prompts], asked.labels[:prompts], advantages_N=advantages_N, **vars(sampled)
        )
        rolled = RolledOut(
            keys=asked.keys[:prompts],
            completions=sampled.completions,
            reference_NT=None if sampled.reference is None else sampled.reference.log_probs_NT,
            advantages_N=advantages_N,
            outcome=StepOutcome.of(sampled.rewards, sampled.heard, sampled.transcripts, sampled.completions),
            places=found.places,
            rounds=found.rounds,
        )
        return rolled if self.updates.on_policy else replace(rolled, old_NT=self._log_probs(self.lesson(asked, rolled)))

    def sample(self, asked: Asked, times: StepTimes) -> Sampled:
        """Roll out, read, score by the reference, hear the listener, reward."""
        trail = self.trail = StepTrail(asked.shown, asked.labels)
        trail.completions = completions = self.roll_out(
            asked, self.group_size, self.hopeless if self.sampling.stop_malformed else None
        )
        trail.transcripts = transcripts = self.read(completions)
        times.rollout += times.lap()
        trail.reference = reference = self.use_of_reference.scores(self, asked, completions, transcripts)
        trail.heard = heard = self.hear(self.listener, asked, completions, transcripts, reference)
        require_finite("the listener's probabilities", heard.p_label_NL[heard.readable_N])
        times.reference += times.lap()
        trail.rewards = rewards = self.reward(asked, completions, transcripts, heard)
        require_finite("rewards", rewards.total_N)
        return Sampled(completions, transcripts, reference, heard, rewards)

    def advantages(self, rewards: Rewards) -> Tensor:
        """Eq. 1 over groups of all ranks, since a deviation may be the batch's: shape [P, G]."""
        return self.objective.compared(rewards, self.group_size)

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

    def lesson(self, asked: Asked, rolled: RolledOut) -> Lesson:
        """The chosen groups that this rank learns from."""
        return lesson_of(asked, rolled, self.objective, self.sampling.max_new_tokens)

    def update(self, asked: Asked, step: Unfinished) -> None:
        """The optimizer steps on one rollout that are left; every minibatch's loss is normalised over all of it.

        Raises:
            StopRequested: the run was asked to stop, and steps are left; they are kept as ``unfinished``.
        """
        lesson = self.lesson(asked, step.rolled)
        self.policy.train()
        for share in (lesson.shares(self.updates.minibatches) * self.updates.epochs)[step.totals.steps :]:
            if step.totals.steps and ranks.any_rank(self.stop_requested):
                self.unfinished = step
                raise StopRequested
            self._optimizer_step(lesson, step, share)
        self.unfinished = None
        self.policy.eval()

    def _optimizer_step(self, lesson: Lesson, step: Unfinished, share: slice) -> None:
        """One step on some of the prompts, pass by pass."""
        optimizer: Any = self.optimizers()
        scheduler: Any = self.lr_schedulers()
        counted = loss_denominator(
            lesson.mask_NT[lesson.rows(share)], self.objective.normalizer, self.sampling.max_new_tokens
        )
        denominator = ranks.summed(counted) / ranks.world_size()  # ranks' gradients are averaged, not summed

        def gradients(passes: Sequence[Pass]) -> UpdateTotals:
            optimizer.zero_grad()
            totals = replace(step.totals)  # as it was, if this is begun again
            for each in passes:
                result, entropy = pass_loss(self._scores(lesson, each), lesson, each, self.objective, denominator)
                require_finite("the loss", result.loss)
                with contextlib.nullcontext() if each is passes[-1] else self._gradients_summed_later():
                    self.manual_backward(result.loss)
                totals.add(result, entropy)
            return totals

        step.totals = lesson.in_passes(self.budget, gradients, share)
        step.totals.add_step(self.clip_to_norm())
        optimizer.step()
        optimizer.zero_grad()  # the next rollout can use their memory
        scheduler.step()
        self.reference_refresh(self.policy, self.reference, self.global_step)

    def _scores(self, lesson: Lesson, each: Pass) -> Scores:
        """The policy's word on the completions of a pass."""
        return packed_scores(
            self.policy,
            lesson.asked,
            lesson.completions,
            each,
            self.sampling.temperature,
            encode_images=self.policy_spec.train_vision and torch.is_grad_enabled(),
        )

    @torch.no_grad()
    def _log_probs(self, lesson: Lesson) -> Tensor:
        """The sampling policy's log-probs, in the same passes as the updates will make them."""
        self.policy.train()

        def score(passes: Sequence[Pass]) -> list[Scores]:
            return [self._scores(lesson, each) for each in passes]

        shares = lesson.shares(self.updates.minibatches)
        parts = [part for share in shares for part in lesson.in_passes(self.budget, score, share)]
        return Scores.joined(parts, lesson.completions.ids_NT.shape[1]).log_probs_NT

    def _taken_up(self, asked: Asked) -> Unfinished:
        """The rollout that a resumed run stopped in the middle of.

        Raises:
            ValueError: it was one of other pairs than are asked about now.
        """
        assert self.unfinished is not None
        rolled, totals = self.unfinished.rolled.to(self.device), self.unfinished.totals
        rolled.check_keys(asked.keys)
        before = self.global_step - totals.steps  # the rollout was rewarded then
        weights_K = torch.tensor([term.weight_at(before) for term in self.reward_terms.values()])
        self.trail = rolled.trail(asked, self.read(rolled.completions), tuple(self.reward_terms), weights_K)
        return Unfinished(rolled, totals)

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
