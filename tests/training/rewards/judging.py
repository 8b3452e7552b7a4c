"""Completions that are judged, made by hand."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from lit_listener.data.records import PreferencePair
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import Outcome, PairwisePreference, Transcript
from lit_listener.training.rewards import Judged
from lit_listener.vlm.listeners import Heard

IMAGE = Image.new("RGB", (8, 8))
TASK = PairwisePreference()


def pair(share_a: float, first: Any = "a", prompt: str = "two red circles") -> ShownPair:
    return ShownPair(PreferencePair(prompt, IMAGE, IMAGE, share_a, 10, "p", "p"), first, 0)


def transcript(
    think: str | None = "The first image is better.", answer: int | None = 0, text: str | None = None
) -> Transcript:
    written = f"<think>{think}</think><answer>{answer}</answer>" if text is None else text
    return Transcript(written, Outcome.OK, think, answer, None if answer is None else 3)


def judged(
    transcripts: Sequence[Transcript],
    shown: Sequence[ShownPair] | None = None,
    *,
    p_second: Sequence[float] | None = None,
    lengths: Sequence[int] | None = None,
    max_new_tokens: int = 20,
    step: int = 0,
) -> Judged:
    count = len(transcripts)
    second_N = torch.tensor(p_second or [0.5] * count)
    readable_N = torch.tensor([each.answer_token is not None for each in transcripts])
    lengths_N = torch.tensor(lengths or [5] * count)
    return Judged(
        task=TASK,
        shown=shown or [pair(1.0)] * count,
        transcripts=transcripts,
        heard=Heard(torch.stack([1 - second_N, second_N], 1), readable_N, torch.zeros(count)),
        own_p_label_NL=torch.full((count, 2), 0.5),
        lengths_N=lengths_N,
        truncated_N=lengths_N >= max_new_tokens,
        max_new_tokens=max_new_tokens,
        step=step,
    )
