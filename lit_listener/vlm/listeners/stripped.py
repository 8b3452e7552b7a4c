"""A listener that hears the arguments alone: the sentences that state a verdict are cut out of each trace.

Removing the answer is not enough to keep it from a listener: a trace may say "the first image is better" and nothing
else. What is left after the cut is heard as a completion of its own, so a listener that reads the reference needs one
more pass of it; another costs no more than without.
"""

from time import perf_counter

from lit_listener.tasks import Task
from lit_listener.vlm.listeners.listener import Heard, Hearing, Listener
from lit_listener.vlm.listeners.rewritten import Rewriter


class StrippedListener(Listener):
    """Hears each trace without its verdict sentences, as the task knows them.

    Args:
        listener: who hears what is left. The reference hears it by a pass of its own; ``listener/stripped_pass_s`` in
            the log tells what that takes.
    """

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self.reads_reference = listener.reads_reference
        self.listener = listener
        self._pass_s = 0.0

    def prepare(self, task: Task, tokenizer: object) -> None:
        """Prepare the other listener."""
        self.listener.prepare(task, tokenizer)
        self.task = task
        self.rewritten = Rewriter(task, tokenizer)

    @property
    def in_evaluation(self) -> Listener:
        """Itself; of a control, who listens for it."""
        other = self.listener.in_evaluation
        return self if other is self.listener else other

    def metrics(self) -> dict[str, float]:
        """The other's numbers, and the seconds of the reference's further pass where it takes one."""
        further = {"listener/stripped_pass_s": self._pass_s} if self.reads_reference else {}
        return {**self.listener.metrics(), **further}

    def hear(self, hearing: Hearing) -> Heard:
        """The other's word on what is left.

        Raises:
            ValueError: the other reads the reference, and there is none that could be asked again.
        """
        if self.reads_reference and hearing.rescore is None:
            raise ValueError(
                "StrippedListener around a listener that reads the reference needs the reference to read again what is "
                "left of a trace, and there is none here: name its model, ModelListener(model, context: reasoner)"
            )
        thoughts = [self.task.strip_verdicts(transcript.think or "") for transcript in hearing.transcripts]
        started = perf_counter()
        left = self.rewritten(hearing, thoughts, hearing.rescore if self.reads_reference else None)
        self._pass_s = perf_counter() - started
        return self.listener.hear(left)
