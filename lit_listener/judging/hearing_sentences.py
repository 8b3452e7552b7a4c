"""Has a listener hear a trace sentence by sentence (``heat``).

The n + 1 beginnings of a trace, and where that is asked for the n texts without one sentence, are completions of one
group: the prompt and its images are read once for all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from lit_listener.data.records import Side
from lit_listener.judging.cut_thoughts import CutThoughts, Variant, retold
from lit_listener.judging.forms.form import Look
from lit_listener.judging.heat import Heat, SentenceHeat
from lit_listener.judging.listening import Ear
from lit_listener.judging.thoughts import up_to_answer
from lit_listener.judging.traces import Trace
from lit_listener.tasks import Transcript
from lit_listener.vlm.asked import Asked
from lit_listener.vlm.passes import up_to
from lit_listener.vlm.thinker import Thinker

TOKENS_PER_PASS = 16_384
"""Of a judge's listener: the beginnings of a long trace are many tokens, and are heard in several passes."""
Read = Callable[[tuple[float, ...]], float]
"""Makes the probability that is told of the labels' probabilities."""


@dataclass(frozen=True)
class Completion:
    """A completion as it was written, or as somebody might have written it."""

    ids: Sequence[int]
    """Its tokens, without the end token."""
    transcript: Transcript


def completion_of(thinker: Thinker, text: str) -> Completion:
    """A text as a completion; it is tokenised anew, which its reasoner may have done otherwise.

    Args:
        thinker: whose tokens and form they are.
        text: the completion, tags included.
    """
    ids = thinker.reader.encoder.encode_text(text, special=False)
    return Completion(ids, thinker.task.parse(thinker.reader.token_bytes(ids), truncated=False))


@torch.no_grad()
def hear_sentences(
    thinker: Thinker,
    ear: Ear,
    asked: Asked,
    completions: Sequence[Completion],
    read: Read,
    *,
    leave_one_out: bool = False,
) -> list[Heat]:
    """Hear completions about one question sentence by sentence, in one pass, or in as many as it takes to fit.

    The whole completion is heard in its own tokens, so that ``p_end`` is what the listener says of it elsewhere. One
    that comes to no answer is closed behind its thoughts, as in judging.

    Args:
        thinker: wrote the completions, or might have.
        ear: who listens.
        asked: the one question, P = 1.
        completions: what was written about it.
        read: makes a probability of the listener's word on the labels.
        leave_one_out: hear each trace without each of its sentences too, which doubles the cost.

    Raises:
        FloatingPointError: a probability is NaN.
        ListenerFailedError: the listener cannot hear.
    """
    heard = [_Variants(thinker, completion, leave_one_out) for completion in completions]
    words = ear.hear(
        thinker,
        asked,
        [transcript for each in heard for transcript in each.transcripts],
        [ids for each in heard for ids in each.ids],
    )
    told = iter(read(word) for word in words)
    return [each.heat([next(told) for _ in each.ids]) for each in heard]


def heat_of_trace(ear: Ear, look: Look, trace: Trace | str, thinker: Thinker, *, of: Side, leave_one_out: bool) -> Heat:
    """Hear a trace about two images sentence by sentence.

    Args:
        ear: who listens.
        look: the images in the trace's display order.
        trace: a judge's, or somebody's thoughts.
        thinker: the judge's model.
        of: the image whose probability is told.
        leave_one_out: tell what would be missed without each sentence.

    Raises:
        FloatingPointError: a probability is NaN.
        ListenerFailedError: the listener cannot hear.
    """
    completion = completion_of(thinker, trace.text if isinstance(trace, Trace) else thinker.task.opening(trace))
    asked = thinker.ask([look.showing.shown], [look.showing.key])
    bounded = replace(thinker, passes=up_to(TOKENS_PER_PASS))

    def read(p_label: tuple[float, ...]) -> float:
        p_a = look.p_a(p_label)
        return p_a if of == "a" else 1 - p_a

    return hear_sentences(bounded, ear, asked, [completion], read, leave_one_out=leave_one_out)[0]


class _Variants:
    """A completion with its first sentences alone, and without each of them, as a listener hears it.

    Args:
        thinker: whose tokens they are.
        completion: the whole.
        leave_one_out: make those without each sentence too.
    """

    def __init__(self, thinker: Thinker, completion: Completion, leave_one_out: bool) -> None:
        led_up = up_to_answer(thinker, list(completion.ids), completion.transcript)
        pieces = thinker.reader.token_bytes(led_up)
        self._cut = CutThoughts(b"".join(pieces), thinker.task.sentences)
        variants = self._cut.beginnings() + (self._cut.without_each() if leave_one_out else [])
        self._leaves_out = leave_one_out
        self.ids = [_ids(thinker, led_up, pieces, variant) for variant in variants]
        self.transcripts = [self._transcript(completion.transcript, variant) for variant in variants]

    def _transcript(self, whole: Transcript, variant: Variant) -> Transcript:
        raw = self._cut.raw[: variant.kept] + variant.rest
        if raw == self._cut.raw:
            return whole
        return replace(whole, text=raw.decode(errors="replace"), think=CutThoughts(raw, self._cut.cut).thinking)

    def heat(self, told: Sequence[float]) -> Heat:
        """What the listener's probabilities, one a variant, amount to."""
        count = len(self._cut.sentences)
        steps, without = told[: count + 1], told[count + 1 :]
        sentences = []
        for number, place in enumerate(self._cut.sentences):
            missed = steps[-1] - without[number] if self._leaves_out else None
            text, start, end = self._cut.in_characters(place)
            sentences.append(SentenceHeat(text, start, end, steps[number], steps[number + 1], missed))
        return Heat(self._cut.thinking, steps[0], steps[-1], tuple(sentences))


def _ids(thinker: Thinker, ids: Sequence[int], pieces: Sequence[bytes], variant: Variant) -> list[int]:
    kept, rest = retold(ids, pieces, variant)
    text = rest.decode(errors="ignore")
    return [*kept, *thinker.reader.encoder.encode_text(text, special=False)] if text else kept
