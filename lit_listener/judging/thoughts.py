"""Thinks about what is displayed: samples a chain of thought, and reads the labels' probabilities at its answer.

A completion that leads to no answer's place is closed, and its labels are read there (``forced``): nothing is drawn
again, and no failure becomes a number. Every completion draws from a stream of its own, keyed by seed, prompt and the
displayed images, so that no score depends on what else is judged in the same batch.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lit_listener.data.shown import Shown
from lit_listener.judging.listening import Ear
from lit_listener.judging.pictures import Picture
from lit_listener.tasks import Transcript
from lit_listener.vlm.asked import Asked
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.streams import ItemKey
from lit_listener.vlm.thinker import Thinker


@dataclass(frozen=True)
class Showing:
    """One question: what is displayed, and how often it is thought about."""

    shown: Shown
    """It as a task words it; nobody has judged it yet."""
    pictures: tuple[Picture, ...]
    """Its images in displayed order."""
    rollouts: int
    seed: int
    listen: bool

    @property
    def prompt(self) -> str:
        """What its images were made from."""
        return self.shown.prompt

    @property
    def key(self) -> ItemKey:
        """What its random streams are keyed by."""
        shown = repr((self.prompt, *(each.digest for each in self.pictures))).encode()
        return ("judge", self.seed, hashlib.sha256(shown).hexdigest())


@dataclass(frozen=True)
class Thought:
    """One completion about a showing."""

    transcript: Transcript
    p_label: tuple[float, ...]
    """Probability of each of the task's labels, read off unscaled logits and renormalised over the labels."""
    forced: bool
    contradicts: bool
    tokens: int
    listener_p_label: tuple[float, ...] | None
    """The listener's, having heard the thoughts; None where nobody listened."""


@torch.no_grad()
def think(thinker: Thinker, showings: Sequence[Showing], rollouts: int, ear: Ear | None) -> list[list[Thought]]:
    """Think about P showings, ``rollouts`` times each, in one batch.

    Args:
        thinker: the judge's model.
        showings: what is displayed; each once.
        rollouts: k, completions of each.
        ear: who listens to the thoughts; None for nobody.

    Returns:
        k thoughts for each showing.

    Raises:
        FloatingPointError: a probability is NaN.
        PromptTooLongError: a prompt does not fit the model's context; nothing was judged.
        ValueError: a prompt holds a chat token.
    """
    asked = thinker.ask([showing.shown for showing in showings], [showing.key for showing in showings])
    completions = thinker.roll_out(asked, rollouts)
    transcripts = thinker.read(completions)
    led_up = [up_to_answer(thinker, *each) for each in zip(completions.content_ids(), transcripts, strict=True)]
    forced = [transcript.answer_token is None for transcript in transcripts]
    p_N = _own_scores(thinker, asked, completions, transcripts, led_up)
    heard_N = [None] * len(transcripts) if ear is None else ear.hear(thinker, asked, transcripts, led_up)
    lengths = completions.lengths_N.tolist()
    thoughts = [
        Thought(
            transcript=transcript,
            p_label=p_N[n],
            forced=forced[n],
            contradicts=thinker.task.contradicts(transcript),
            tokens=lengths[n],
            listener_p_label=heard_N[n],
        )
        for n, transcript in enumerate(transcripts)
    ]
    return [thoughts[start : start + rollouts] for start in range(0, len(thoughts), rollouts)]


def up_to_answer(thinker: Thinker, ids: list[int], transcript: Transcript) -> list[int]:
    """A completion's token ids up to the answer's place; closed, where it leads to none."""
    if transcript.answer_token is not None:
        return ids[: transcript.answer_token]
    pieces = thinker.reader.token_bytes(ids)
    kept, closing = thinker.task.closing(b"".join(pieces))
    whole, taken = 0, 0
    while whole < len(pieces) and taken + len(pieces[whole]) <= kept:
        taken += len(pieces[whole])
        whole += 1
    left = b"".join(pieces[whole:])[: kept - taken].decode(errors="ignore")
    return [*ids[:whole], *thinker.reader.encoder.encode_text(left + closing, special=False)]


def _own_scores(
    thinker: Thinker,
    asked: Asked,
    completions: Completions,
    transcripts: Sequence[Transcript],
    led_up: Sequence[Sequence[int]],
) -> list[tuple[float, ...]]:
    """The model's own probabilities of the labels: kept from sampling, or of one more pass where it left no place."""
    places_N = torch.tensor([transcript.answer_token or 0 for transcript in transcripts])
    logits_NL = completions.label_logits_NTL[torch.arange(len(transcripts)), places_N].clone()
    if missing := [n for n, transcript in enumerate(transcripts) if transcript.answer_token is None]:
        size = len(transcripts) // len(asked.shown)
        closed, closed_places_N = thinker.written([led_up[n] for n in missing])
        scores = thinker.scores(thinker.policy, asked.picked([n // size for n in missing]), closed, closed_places_N)
        logits_NL[missing] = scores.label_logits_NL.to(logits_NL.dtype)
    p_NL = logits_NL.float().cpu().double().softmax(1)  # MPS has no float64
    if not bool(torch.isfinite(p_NL).all()):
        raise FloatingPointError("the judge's probabilities are NaN: its weights are no use in this number format")
    return [tuple(row) for row in p_NL.tolist()]
