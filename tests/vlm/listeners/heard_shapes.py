"""Written thoughts about Shapes pairs, as a listener hears them: canonical traces, which any tokenizer reads alike."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from lit_listener.data.shapes import ShapesPairs, ShapesTraces
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import PairwisePreference
from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import Reader, label_token_ids
from lit_listener.vlm.listeners import Hearing, Rescored
from lit_listener.vlm.packing import pack

TEMPLATE = "{prompt}. first {image_0} second {image_1} Which is better, 0 or 1?"
TASK = PairwisePreference(TEMPLATE, None, TEMPLATE, "<think>{trace}</think><answer>")
"""A listener's own question is one that the bundled models know, too."""
_PAIRS = ShapesPairs(["flat", "paper"], 64, "test")
WRITE = ShapesTraces({"thorough": 0.4, "hasty": 0.3, "contradictory": 0.3})


def shown(count: int) -> list[ShownPair]:
    return [ShownPair(_PAIRS[n], "a" if n % 2 else "b", n) for n in range(count)]


def hearing(
    reader: Reader, pairs: Sequence[ShownPair], group_size: int, texts: Sequence[str] | None = None, **changes: Any
) -> Hearing:
    """What a listener is given of demonstrations, or of other texts; there is no reference."""
    given = texts or [TASK.write(WRITE(replace(pair, epoch=epoch))) for pair in pairs for epoch in range(group_size)]
    end = reader.tokenizer.eos_token_id
    completions = Completions.from_ids([[*reader.encoder.encode_text(text, special=False), end] for text in given], end)
    contents = completions.content_ids()
    transcripts = [TASK.parse(reader.token_bytes(ids), truncated=False) for ids in contents]
    heard = [ids[: transcript.answer_token] for ids, transcript in zip(contents, transcripts, strict=True)]
    fields = {
        "shown": pairs,
        "keys": [(0, pair.index) for pair in pairs],
        "labels": [pair.label for pair in pairs],
        "completions": completions,
        "transcripts": transcripts,
        "trace_bytes": [b"".join(reader.token_bytes(ids)) for ids in heard],
        "trace_ids": heard,
        "reference": None,
    }
    return Hearing(**{**fields, **changes})


@torch.no_grad()
def rescored_by(backbone: Backbone, reader: Reader, pairs: Sequence[ShownPair], texts: Sequence[str]) -> Rescored:
    """A model's word on written texts about questions, as a reference gives it."""
    pad = reader.tokenizer.pad_token_id
    rows = [reader.encoder.encode_text(text, special=False) for text in texts]
    completions = Completions.from_ids([[*row, pad] for row in rows], pad)
    places = [len(row) for row in rows]
    prompts = reader.encoder.encode([TASK.encode(pair) for pair in pairs])
    scores = backbone.score(
        pack(prompts, completions),
        backbone.image_features(prompts),
        answer_place_N=torch.tensor(places),
        label_ids=label_token_ids(reader.tokenizer, TASK.labels),
    )
    return Rescored(completions, places, scores)
