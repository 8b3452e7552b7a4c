"""What a GRPO step would make of some pairs: every completion of a group with each term of its reward, without a step.

The completions, the listener's word, the rewards (Eq. 5 of Gambashidze et al. 2025) and the advantages (Eq. 1) come
from the steps of the training module itself, and from its random streams: they are what a training step with these
weights would have learnt from. Nothing is updated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import torch

from lit_listener.data.shown import Shown
from lit_listener.judging.hearing_sentences import Completion, hear_sentences
from lit_listener.judging.heat import Heat
from lit_listener.judging.listening import Ear
from lit_listener.tasks import Transcript
from lit_listener.training.groups import AllGroups, Found
from lit_listener.training.grpo_options import Updates, check_batch
from lit_listener.training.listener_grpo import ListenerGRPO
from lit_listener.training.step_report import StepTimes
from lit_listener.vlm.asked import Asked


@dataclass(frozen=True)
class InspectedTerm:
    """One term of a completion's reward."""

    name: str
    value: float
    """As it was given, unweighted."""
    weight: float
    """What it was multiplied by."""

    @property
    def worth(self) -> float:
        """What it adds to the reward."""
        return self.weight * self.value


@dataclass(frozen=True)
class InspectedCompletion:
    """A completion, and all that its reward is made of."""

    rollout: int
    """Its place in the group, from 0."""
    written: Completion
    """Its tokens, and what was read of them."""
    contradicts: bool
    """Whether its thoughts state one verdict and its answer gives another."""
    p_correct: float | None
    """How far the listener agrees with people, having heard it (p_corr of Eq. 5); None where it heard nothing."""
    own_p_correct: float | None
    """How far the reasoner's own probabilities agree with people; None where there is no answer's place."""
    terms: tuple[InspectedTerm, ...]
    """The same terms, in the same order, for all completions."""
    total: float
    """The reward: the sum of the terms' worth."""
    advantage: float
    """The reward compared with the group's (Eq. 1)."""
    tokens: int
    """Its length, end token included."""

    @property
    def said(self) -> Transcript:
        """What was read of it."""
        return self.written.transcript


@dataclass(frozen=True)
class InspectedGroup:
    """The G completions about one question."""

    shown: Shown
    """What it is about."""
    label: int | None
    """Index of the right label."""
    completions: tuple[InspectedCompletion, ...]
    asked: Asked = field(repr=False)
    """The question as the model saw it."""


@torch.no_grad()
def inspect_groups(module: ListenerGRPO, shown: Sequence[Shown]) -> list[InspectedGroup]:
    """Draw a group of completions for each of some questions and reward them, as a training step would.

    All of them are compared as the groups of one step, whatever ``model.groups`` would choose among them.

    Args:
        module: what is trained; its weights are loaded if they are not there yet.
        shown: what is asked about, in the order in which it is displayed. A pair shown with the epoch and index of a
            training batch gets the completions of that batch.

    Raises:
        FloatingPointError: a reward or the listener's word is NaN or infinite.
        ValueError: people are tied on a pair, so that no answer is right.
    """
    if not shown:
        return []
    check_batch(shown, Updates(), len(shown))
    for each in shown:
        module.task.refuse_undecided(each)
    module.configure_model()
    asked = module.ask(shown, [(each.epoch, each.index) for each in shown])
    trail = module.trail
    try:
        sample = partial(module.sample, times=StepTimes(perf_counter()))
        found = AllGroups().find(asked, sample, module.advantages, module.policy.vocabulary.pad_id)
    finally:
        module.trail = trail  # which is that of a step
    completions = _completions(module, asked, found)
    size = module.group_size
    return [
        InspectedGroup(each, asked.labels[place], completions[place * size : (place + 1) * size], asked.picked([place]))
        for place, each in enumerate(shown)
    ]


def heat_of_completion(
    module: ListenerGRPO, group: InspectedGroup, rollout: int, *, leave_one_out: bool = False
) -> Heat:
    """Which sentence of a completion makes the listener agree with people, or not (see ``judging.heat``).

    The probability is that of the right answer (p_corr of Eq. 5). For a control, whose word says nothing, the reference
    listens.

    Args:
        module: what is trained.
        group: of ``inspect_groups``.
        rollout: which of its completions.
        leave_one_out: tell also what would be missed without each sentence, which doubles the cost.

    Raises:
        IndexError: there is no such completion.
        ListenerFailedError: the listener cannot hear.
    """
    if not 0 <= rollout < len(group.completions):
        raise IndexError(f"rollout: expected one of the group's {len(group.completions)} completions, got {rollout}")

    def agreement(p_label: tuple[float, ...]) -> float:
        return float(module.task.agreement(torch.tensor([p_label]), [group.shown])[0])

    ear = Ear(module.listener.in_evaluation, module.reference, module.shares_vision)
    written = [group.completions[rollout].written]
    return hear_sentences(module.thinker, ear, group.asked, written, agreement, leave_one_out=leave_one_out)[0]


def _completions(module: ListenerGRPO, asked: Asked, found: Found) -> tuple[InspectedCompletion, ...]:
    """The completions of all groups, side by side."""
    sampled, size = found.sampled, module.group_size
    rewards, transcripts = sampled.rewards, sampled.transcripts
    about = [shown for shown in asked.shown for _ in range(size)]
    own_NL = sampled.completions.p_label_at([transcript.answer_token for transcript in transcripts])
    own_N = module.task.agreement(own_NL, about).tolist()
    weights = rewards.weights_K.tolist()
    ids, lengths = sampled.completions.content_ids(), sampled.completions.lengths_N.tolist()
    return tuple(
        InspectedCompletion(
            rollout=n % size,
            written=Completion(ids[n], transcript),
            contradicts=module.task.contradicts(transcript),
            p_correct=float(rewards.p_correct_N[n]) if bool(sampled.heard.readable_N[n]) else None,
            own_p_correct=None if transcript.answer_token is None else own_N[n],
            terms=tuple(map(InspectedTerm, rewards.names, rewards.terms_NK[n].tolist(), weights)),
            total=float(rewards.total_N[n]),
            advantage=float(found.advantages_N[n]),
            tokens=lengths[n],
        )
        for n, transcript in enumerate(transcripts)
    )
