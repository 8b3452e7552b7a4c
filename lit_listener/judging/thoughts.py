"""Thinks about displayed pairs: samples a chain of thought for each, and reads the soft score at its answer.

A completion that leads to no answer's place is closed, and its labels are read there (``forced``): nothing is drawn
again, and no failure becomes a number. Every completion draws from a stream of its own, keyed by seed, prompt and the
displayed images, so that no score depends on what else is judged in the same batch.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lit_listener.data.records import PreferencePair, ShownPair
from lit_listener.judging.listening import Ear
from lit_listener.judging.pictures import Picture
from lit_listener.objective import preference_probability
from lit_listener.tasks import Transcript
from lit_listener.vlm.asked import Asked
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.streams import ItemKey
from lit_listener.vlm.thinker import Thinker


@dataclass(frozen=True)
class Showing:
    """Two images in the order in which they are displayed, and how often they are thought about."""

    prompt: str
    first: Picture
    second: Picture
    rollouts: int
    seed: int
    listen: bool

    @property
    def key(self) -> ItemKey:
        """What its random streams are keyed by."""
        shown = repr((self.prompt, self.first.digest, self.second.digest)).encode()
        return ("judge", self.seed, hashlib.sha256(shown).hexdigest())

    @property
    def pair(self) -> ShownPair:
        """It as a task words it: nobody has voted yet."""
        pair = PreferencePair(self.prompt, self.first.image, self.second.image, 0.5, 0, "to judge", "")
        return ShownPair(pair, "a", index=0)


@dataclass(frozen=True)
class Thought:
    """One completion about a showing."""

    transcript: Transcript
    p_second: float
    """Probability of the second image, read off unscaled logits over the labels (Eq. 4)."""
    forced: bool
    contradicts: bool
    tokens: int
    listener_p_second: float | None


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
    asked = thinker.ask([showing.pair for showing in showings], [showing.key for showing in showings])
    completions = thinker.roll_out(asked, rollouts)
    transcripts = thinker.read(completions)
    led_up = [_up_to_answer(thinker, *each) for each in zip(completions.content_ids(), transcripts, strict=True)]
    forced = [transcript.answer_token is None for transcript in transcripts]
    p_N = _own_scores(thinker, asked, completions, transcripts, led_up)
    heard_N = [None] * len(transcripts) if ear is None else ear.hear(thinker, asked, transcripts, led_up)
    lengths = completions.lengths_N.tolist()
    thoughts = [
        Thought(
            transcript=transcript,
            p_second=p_N[n],
            forced=forced[n],
            contradicts=thinker.task.contradicts(transcript),
            tokens=lengths[n],
            listener_p_second=heard_N[n],
        )
        for n, transcript in enumerate(transcripts)
    ]
    return [thoughts[start : start + rollouts] for start in range(0, len(thoughts), rollouts)]


def _up_to_answer(thinker: Thinker, ids: list[int], transcript: Transcript) -> list[int]:
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
) -> list[float]:
    """The model's own p(second): kept from sampling where it came to the answer's place, else of one more pass."""
    places_N = torch.tensor([transcript.answer_token or 0 for transcript in transcripts])
    logits_NL = completions.label_logits_NTL[torch.arange(len(transcripts)), places_N].clone()
    if missing := [n for n, transcript in enumerate(transcripts) if transcript.answer_token is None]:
        size = len(transcripts) // len(asked.shown)
        closed, closed_places_N = thinker.written([led_up[n] for n in missing])
        scores = thinker.scores(thinker.policy, asked.picked([n // size for n in missing]), closed, closed_places_N)
        logits_NL[missing] = scores.label_logits_NL.to(logits_NL.dtype)
    p_N = preference_probability(logits_NL.float())
    if not bool(torch.isfinite(p_N).all()):
        raise FloatingPointError("the judge's probabilities are NaN: its weights are no use in this number format")
    numbers: list[float] = p_N.cpu().double().tolist()  # MPS has no float64
    return numbers
