"""GenAI-Bench (``TIGER-Lab/GenAI-Bench`` on the hub), its text-to-image part, in its published layout.

A row is a vote between two images: ``prompt, left_image, right_image, vote_type``. The vote is leftvote, rightvote,
tievote or bothbad_vote; that both are bad says nothing of which is better, and counts as a tie. Image editing and video
are left out. How many people voted is not told.
"""

from pathlib import Path
from typing import Any

from lit_listener.data.sources.bad_rows import BadRows
from lit_listener.data.sources.columns import check_texts
from lit_listener.data.sources.generators import find_generators
from lit_listener.data.sources.pair_index import PairColumns, PairIndex
from lit_listener.data.sources.pairs import TablePairs
from lit_listener.data.sources.rows import Rows, Table
from lit_listener.data.sources.votes import read_names

_PART = "image_generation"
_MODELS = ("left_model", "right_model")
_VOTES = {"leftvote": 1.0, "rightvote": 0.0, "tievote": 0.5, "bothbad_vote": 0.5}


class GenAIBench(TablePairs):
    """The pairs of GenAI-Bench's text-to-image part; ties, and pairs of two bad images, are left out by default.

    Args:
        path: the downloaded folder, or its folder ``image_generation``; one of the Parquet files there; a loaded
            ``datasets.Dataset``; or the id on the hub, ``TIGER-Lab/GenAI-Bench``.
        split: which files of the folder, or which split on the hub: test.
    """

    def __init__(self, path: Table, split: str = "test", **options: Any) -> None:
        names = ["prompt", "left_image", "right_image", "vote_type", *_MODELS]
        super().__init__(path, split, index=_index, columns=names, opening=_opening(path), **options)


def _index(rows: Rows, bad: BadRows) -> PairIndex:
    rows.require("prompt", "left_image", "right_image", "vote_type")
    check_texts(bad, "prompt", "a prompt")
    votes = read_names(bad, "vote_type", _VOTES, expected=f"one of {', '.join(_VOTES)}")
    model_a, model_b = find_generators(rows, _MODELS)
    columns = PairColumns("prompt", "left_image", "right_image", generator_a=model_a, generator_b=model_b)
    return PairIndex.of_rows(columns, votes)


def _opening(path: Table) -> dict[str, Any]:
    """The whole download has folders of other tasks with the same splits."""
    if isinstance(path, str | Path) and (Path(path) / _PART).is_dir():
        return {"pattern": f"{_PART}/{{split}}-*.parquet"}
    return {"config": _PART}
