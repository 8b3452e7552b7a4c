"""Multimodal RewardBench 2, its text-to-image part (``t2i.json``; images of ``facebook/MMRB2_image`` on the hub).

The file is one object with the list ``pairs``: ``{pair_id, prompt_content, response_a {model, response_content},
response_b, chosen: "A" | "B"}``, where a content is a list of ``[kind, value]``, such as ``["text", "a cat"]`` and
``["image", "images/a.jpg"]``. In the files as built ``pair_id`` is called ``id``, and ``model`` ``model_name``.

The data is released under CC BY-NC 4.0, for evaluation only: it is not to be trained on. Left out are the editing,
interleaved and reasoning parts, whose prompts have images, and the single annotators' grades.
"""

from typing import Any

import datasets
import pyarrow as pa
from datasets.table import InMemoryTable

from lit_listener.data.sources.bad_rows import BadRows
from lit_listener.data.sources.columns import check_names
from lit_listener.data.sources.pair_index import PairColumns, PairIndex
from lit_listener.data.sources.pairs import TablePairs
from lit_listener.data.sources.rows import Rows, Table, open_rows
from lit_listener.data.sources.votes import read_names

_IDS = ("pair_id", "id")
_NEEDED = ("prompt_content", "response_a", "response_b", "chosen")
_HINT = "t2i.json has them all; t2i_response_only.json still lacks the prompts, which the authors' build script fetches"


class MMRB2(TablePairs):
    """The pairs of Multimodal RewardBench 2's text-to-image part; for evaluation only (CC BY-NC 4.0).

    Args:
        path: the folder with ``t2i.json`` and the folder ``images``, that file, or a loaded ``datasets.Dataset`` of its
            pairs.
        split: test; there is no other.
    """

    def __init__(self, path: Table, split: str = "test", **options: Any) -> None:
        if split != "test":
            raise ValueError(f"split: MMRB2 is for evaluation only and has the split test, got {split!r}")
        nested = open_rows(path, None, [*_IDS, *_NEEDED], pattern="t2i.json", key="pairs")
        nested.require(*_NEEDED, hint=_HINT)
        name = nested.first_of(*_IDS)
        faults = [(row, column, reason) for row, column, reason in nested.odd]
        flat = [_flatten(nested, row, name, faults) for row in range(len(nested))]  # a thousand

        def index(rows: Rows, bad: BadRows) -> PairIndex:
            for row, column, reason in faults:
                bad.note(row, [column], reason)
            check_names(bad, name)
            votes = read_names(bad, "chosen", {"a": 1.0, "b": 0.0}, expected="A or B")
            columns = PairColumns("prompt_content", "response_a", "response_b", None, name, "model_a", "model_b")
            return PairIndex.of_rows(columns, votes)

        info = datasets.DatasetInfo(dataset_name=nested.name)
        table = datasets.Dataset(InMemoryTable(pa.Table.from_pylist(flat)), info=info)
        super().__init__(table, split, index=index, columns=table.column_names, opening={}, **options)


def _flatten(rows: Rows, row: int, name: str, faults: list[tuple[int, str, str]]) -> dict[str, str | None]:
    """A pair with its prompt and its images in cells of their own; what is wrong with it is added to the faults."""
    cells = rows.cells(row)
    flat: dict[str, str | None] = {
        name: None if cells[name] is None else str(cells[name]),
        "chosen": None if cells["chosen"] is None else str(cells["chosen"]),
    }
    texts, images = _of_kind(cells["prompt_content"], "text"), _of_kind(cells["prompt_content"], "image")
    prompt = "\n".join(texts)
    flat["prompt_content"] = prompt
    if not prompt.strip() or images:
        faults.append((row, "prompt_content", f"expected a prompt of text alone, got {cells['prompt_content']!r}"))
    for side in ("a", "b"):
        response = cells[f"response_{side}"] or {}
        made = _of_kind(response.get("response_content"), "image")
        if len(made) != 1:
            content = response.get("response_content")
            faults.append((row, f"response_{side}", f"expected a response with one image, got {content!r}"))
        flat[f"response_{side}"] = str(rows.folder(row) / made[0]) if made else None
        flat[f"model_{side}"] = response.get("model") or response.get("model_name")
    return flat


def _of_kind(content: Any, kind: str) -> list[str]:
    """The values of one kind in a content: of ``[kind, value]`` or of ``{"type": kind, kind: value}``."""
    parts = content if isinstance(content, list) else []
    pairs = [
        (part.get("type"), part.get(kind) or part.get("content")) if isinstance(part, dict) else tuple(part)
        for part in parts
        if isinstance(part, dict | list)
    ]
    return [pair[1] for pair in pairs if len(pair) == 2 and pair[0] == kind and isinstance(pair[1], str)]
