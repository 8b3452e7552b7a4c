"""Nobody listens: for plain GRPO that has no reference either."""

import torch

from lit_listener.tasks import Task
from lit_listener.vlm.listeners.listener import Heard, Hearing, Listener


class NoListener(Listener):
    """Hears nothing: no pass is made, the listener's reward is 0, and its measures are left empty."""

    reads_reference = False

    def __init__(self) -> None:
        super().__init__()
        self._labels = 2

    def prepare(self, task: Task, tokenizer: object) -> None:
        """Count the task's labels."""
        self._labels = len(task.labels)

    def hear(self, hearing: Hearing) -> Heard:
        """No word on any completion."""
        count, labels = len(hearing.transcripts), self._labels
        nothing_N = torch.zeros(count)
        return Heard(torch.full((count, labels), 1 / labels), torch.zeros(count, dtype=torch.bool), nothing_N)
