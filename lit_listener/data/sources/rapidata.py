"""Rapidata's preference sets (``Rapidata/…`` on the hub), in the two families of columns in which they are published.

- Older sets (``700k_Human_Preference_Dataset_FLUX_SD3_MJ_DALLE3`` and its kin; about 26 votes a pair) have the number
  of votes for each image: ``votes_image1`` and ``votes_image2``.
- Newer ones (``…_t2i_human_preference``) have what the votes weigh, each by its voter's reliability:
  ``weighted_results_image1_preference`` and so on, for coherence and alignment too. Their number is that of the entries
  in the list of single votes, ``detailed_results_preference`` or ``detailed_results``, where a row has one.

In ``human-style-preferences-images`` (1.2 million votes on about 63,700 pairs) either family may be met. A column
``category``, which some sets have, tells the kind of prompt. Who the single voters are is left out.
"""

import json
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from lit_listener.data.sources.bad_rows import BadRows
from lit_listener.data.sources.columns import Ints, check_texts
from lit_listener.data.sources.generators import find_generators
from lit_listener.data.sources.pair_index import PairColumns, PairIndex
from lit_listener.data.sources.pairs import TablePairs
from lit_listener.data.sources.rows import Rows, Table
from lit_listener.data.sources.votes import Votes, read_counts, read_weights

Criterion = Literal["preference", "coherence", "alignment"]
_KIND = "category"
_MODELS = (("model1", "model2"), ("model_1", "model_2"))
_IMAGES = (("image1", "image2"), ("image_1", "image_2"))
_COUNTS = (("votes_image1", "votes_image2"), ("votes_image_1", "votes_image_2"), ("votes1", "votes2"))


class Rapidata(TablePairs):
    """The pairs of one of Rapidata's sets, with the share of the votes that each image got.

    Args:
        path: a folder with the set's Parquet files, one of them or a glob; a loaded ``datasets.Dataset``; or the id of
            a set on the hub, such as ``Rapidata/human-style-preferences-images``.
        split: which files of the folder, or which split on the hub: train. Sets whose splits are numbered are one split
            as a folder, and several on the hub (``train_0001+train_0002``).
        criterion: what people were asked: preference, coherence or alignment; the older sets hold one question each,
            and take preference only.
    """

    def __init__(
        self, path: Table, split: str = "train", *, criterion: Criterion = "preference", **options: Any
    ) -> None:
        weights, details = _weights(criterion), (f"detailed_results_{criterion}", "detailed_results")

        def index(rows: Rows, bad: BadRows) -> PairIndex:
            rows.require("prompt")
            image_a, image_b = _two_of(rows, _IMAGES)
            counts = _COUNTS if criterion == "preference" else ()
            votes = _two_of(rows, (*counts, *weights))
            check_texts(bad, "prompt", "a prompt")
            model_a, model_b = find_generators(rows, *_MODELS)
            kind = _KIND if _KIND in rows.names else None
            columns = PairColumns("prompt", image_a, image_b, None, None, model_a, model_b, kind)
            return PairIndex.of_rows(columns, _read_votes(bad, votes, details, whole=votes in counts))

        layouts = (*_IMAGES, *_MODELS, *_COUNTS, *weights)
        columns = ["prompt", *(name for pair in layouts for name in pair), *details, _KIND]
        super().__init__(path, split, index=index, columns=columns, opening={}, **options)


def _weights(criterion: Criterion) -> tuple[tuple[str, str], ...]:
    """Names of the columns with the weights of the votes."""
    if criterion not in ("preference", "coherence", "alignment"):
        raise ValueError(f"criterion: expected preference, coherence or alignment, got {criterion!r}")
    names = (f"weighted_results_image{{}}_{criterion}", f"weighted_results_image_{{}}_{criterion}")
    alone = ("weighted_results_image{}", "weighted_results{}") if criterion == "preference" else ()
    return tuple((name.format(1), name.format(2)) for name in (*names, *alone))


def _two_of(rows: Rows, names: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """The first two columns that are there together."""
    for pair in names:
        if all(name in rows.names for name in pair):
            return pair
    known = f"Known are {'; or '.join(' and '.join(pair) for pair in names)}"
    rows.require(*next((pair for pair in names if any(name in rows.names for name in pair)), names[0]), hint=known)
    raise AssertionError  # not reached: of each two names one is missing


def _read_votes(bad: BadRows, votes: tuple[str, str], details: tuple[str, ...], *, whole: bool) -> Votes:
    if whole:
        return read_counts(bad, *votes)
    weighted = read_weights(bad, *votes)
    listed = next((name for name in details if name in bad.rows.names), None)
    return weighted if listed is None else weighted._replace(votes_N=_entries(bad, listed))


def _entries(bad: BadRows, column: str) -> Ints:
    """How many single votes each cell lists; 0, which is unknown, where it is no JSON list."""
    cells = bad.rows.column(column)
    texts: Iterable[Any] = (cell.as_py() for chunk in cells.chunks for cell in chunk)
    return np.fromiter(map(_count, texts), np.int64, len(cells))


def _count(cell: Any) -> int:
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except json.JSONDecodeError:
            return 0
    return len(cell) if isinstance(cell, list) else 0
