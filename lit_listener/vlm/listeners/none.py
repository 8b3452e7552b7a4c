"""Nobody listens: for plain GRPO that has no reference either."""

import torch

from lit_listener.vlm.listeners.listener import Heard, Hearing, Listener


class NoListener(Listener):
    """Hears nothing: no pass is made, the listener's reward is 0, and its measures are left empty."""

    reads_reference = False

    def hear(self, hearing: Hearing) -> Heard:
        """No word on any completion."""
        count, labels = len(hearing.transcripts), hearing.completions.label_logits_NTL.shape[2]
        nothing_N = torch.zeros(count)
        return Heard(torch.full((count, labels), 1 / labels), torch.zeros(count, dtype=torch.bool), nothing_N)
