"""A listener's view of a judge's thoughts: the probability that it gives to each image, having read no answer.

It says how convincing a trace is to somebody else, and changes no score.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from lit_listener.tasks import Transcript
from lit_listener.tasks.transcript import Outcome
from lit_listener.vlm.asked import Asked
from lit_listener.vlm.backbone import Scores
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.listeners import Hearing, Listener, ListenerFailedError, Rescored
from lit_listener.vlm.reference import Reference
from lit_listener.vlm.thinker import Thinker


@dataclass(frozen=True)
class Ear:
    """A listener, ready to hear.

    Args:
        listener: who listens.
        reference: the frozen model whose scores a ``ReferenceListener`` reads; None for listeners with a model of their
            own.
        shares_vision: whether that model sees images as the judge does.
    """

    listener: Listener
    reference: Reference | None = None
    shares_vision: bool = False

    def hear(
        self, thinker: Thinker, asked: Asked, transcripts: Sequence[Transcript], led_up: Sequence[Sequence[int]]
    ) -> list[tuple[float, ...]]:
        """The listener's probabilities of the labels for N thoughts.

        Args:
            thinker: the model that thought them.
            asked: the P questions.
            transcripts: what was read of the N completions.
            led_up: their token ids up to the answer's place.
        """
        completions, places_N = thinker.written(led_up)
        heard = self.listener.hear(
            Hearing(
                shown=asked.shown,
                keys=asked.keys,
                labels=asked.labels,
                completions=completions,
                transcripts=[
                    replace(transcript, answer_token=len(ids), outcome=Outcome.OK)
                    for transcript, ids in zip(transcripts, led_up, strict=True)
                ],
                trace_bytes=[b"".join(thinker.reader.token_bytes(list(ids))) for ids in led_up],
                trace_ids=led_up,
                reference=self._reference_scores(thinker, asked, completions, places_N),
                in_passes=thinker.passes,
                rescore=None if self.reference is None else partial(self._rescored, thinker, asked),
            )
        )
        if not bool(heard.readable_N.all()):
            raise ListenerFailedError(
                f"the listener names no label after {int((~heard.readable_N).sum())} of {len(transcripts)} traces: ask "
                "without it, or name another"
            )
        if not bool(torch.isfinite(heard.p_label_NL).all()):
            raise FloatingPointError("the listener's probabilities are NaN: its weights are no use in this format")
        return [tuple(row) for row in heard.p_label_NL.double().tolist()]

    def _rescored(self, thinker: Thinker, asked: Asked, texts: Sequence[str]) -> Rescored:
        """The reference's word on other texts about the questions."""
        completions, places_N = thinker.written(
            [thinker.reader.encoder.encode_text(text, special=False) for text in texts]
        )
        scores = self._reference_scores(thinker, asked, completions, places_N)
        assert scores is not None
        return Rescored(completions, places_N.tolist(), scores)

    def _reference_scores(
        self, thinker: Thinker, asked: Asked, completions: Completions, places_N: torch.Tensor
    ) -> Scores | None:
        if self.reference is None:
            return None
        with self.reference.active() as backbone:
            seen = asked if self.shares_vision else replace(asked, features_MD=backbone.image_features(asked.prompts))
            return thinker.scores(backbone, seen, completions, places_N)
