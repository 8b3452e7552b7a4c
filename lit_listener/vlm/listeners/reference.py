"""The listener that costs nothing: the reference itself."""

from lit_listener.vlm.listeners.listener import Heard, Hearing, Listener


class ReferenceListener(Listener):
    """The reference model, in the reasoner's own context: no forward pass of its own.

    The papers' case, p_corr = pi_ref(y* | C) (Gambashidze et al. 2025, section 4.3): its score is read off the
    reference pass at the answer's place.
    """

    def hear(self, hearing: Hearing) -> Heard:
        """Read the answer labels' probabilities off the reference pass."""
        scores = hearing.reference
        if scores is None:
            raise ValueError("ReferenceListener reads the reference's scores, and there is no reference here")
        return Heard(scores.label_logits_NL.softmax(1).cpu(), hearing.readable_N, scores.discarded_mass_N.cpu())
