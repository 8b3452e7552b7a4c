"""What a test finds out about a judgement beside its answer: whether the thoughts mattered, and to whom.

Each finding answers a question of the papers or of their review. Does the model need its thoughts (Gambashidze et al.
2025, Table 5)? Does the listener follow the arguments, or only the sentence with the verdict? Does a listener that took
no part in training follow them? Does a text model see a contradiction between thoughts and answer (Table 4)?
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lit_listener.data.demonstrators import FINISHED
from lit_listener.tasks import Task, Transcript
from lit_listener.vlm.listeners import Heard, Hearing, Listener, Rescore, Rewriter
from lit_listener.vlm.text_judge import TextJudge


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found out about N completions; None where nobody asked."""

    without_thinking_NL: Tensor | None = None
    """The model's own probability of each label after a fixed sentence in place of its thoughts."""
    stripped: Heard | None = None
    """The listener's word on the thoughts without the sentences that state a verdict."""
    independent: Heard | None = None
    p_contradiction: Sequence[float | None] | None = None
    """None too where there is nothing to ask about."""


@dataclass(frozen=True)
class Examination:
    """How thoroughly ``test`` and ``predict`` look at a judge.

    Args:
        rollouts: k, completions sampled for each shown pair; their scores are averaged, their answers vote.
        without_thinking: ask also for the answer after "I have finished thinking." in place of the thoughts: one short
            pass a shown pair.
        strip_verdicts: let the listener also hear each trace without the sentences that state a verdict: one pass more.
        independent_listener: a listener that took no part in training, to say whether the thoughts support the answer.
        text_judge: a text model that is asked whether the answer contradicts the thoughts.
    """

    rollouts: int = 1
    without_thinking: bool = True
    strip_verdicts: bool = True
    independent_listener: Listener | None = None
    text_judge: TextJudge | None = None

    def __post_init__(self) -> None:
        if self.rollouts < 1:
            raise ValueError(f"model.evaluation.rollouts: expected at least 1 completion a pair, got {self.rollouts}")

    def findings(
        self, task: Task, hearing: Hearing, listener: Listener, policy: Rescore, reference: Rescore
    ) -> Findings:
        """What is found out about N completions to P questions.

        Args:
            task: words the texts.
            hearing: the completions, as a listener is given them.
            listener: who heard them in training.
            policy: scores answers of the model that wrote them; P texts, one a question.
            reference: scores answers of the reference; N texts.

        Raises:
            FloatingPointError: a listener's probabilities are not finite.
        """
        found = Findings()
        if self.without_thinking:
            texts = [task.opening(FINISHED)] * len(hearing.shown)
            scores = policy(texts).scores
            assert scores is not None  # the policy is always there
            own_PL = scores.label_logits_NL.softmax(1).cpu()
            found = replace(found, without_thinking_NL=own_PL.repeat_interleave(hearing.group_size, 0))
        if self.strip_verdicts:
            left = [task.strip_verdicts(transcript.think or "") for transcript in hearing.transcripts]
            found = replace(found, stripped=_finite(listener.hear(Rewriter(task)(hearing, left, reference))))
        if self.independent_listener is not None:
            found = replace(found, independent=_finite(self.independent_listener.hear(hearing)))
        if self.text_judge is not None:
            found = replace(found, p_contradiction=_contradictions(self.text_judge, task, hearing.transcripts))
        return found


def _finite(heard: Heard) -> Heard:
    """What was heard, once it is known to be numbers."""
    if not bool(torch.isfinite(heard.p_label_NL[heard.readable_N]).all()):
        raise FloatingPointError("a listener's probabilities are NaN or infinite: its weights are no use")
    return heard


def _contradictions(judge: TextJudge, task: Task, transcripts: Sequence[Transcript]) -> list[float | None]:
    """The text judge's word on each completion that has thoughts and an answer."""
    asked = [n for n, t in enumerate(transcripts) if t.answer is not None and t.think is not None]
    items = [(transcripts[n].think or "", task.in_words(transcripts[n].answer or 0)) for n in asked]
    found = dict(zip(asked, judge.p_contradiction(items), strict=True)) if items else {}
    return [found.get(n) for n in range(len(transcripts))]
