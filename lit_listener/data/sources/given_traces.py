"""Pairs that come with thoughts about them, for supervised fine-tuning on given traces (``GivenTraces``).

Two layouts: conversations as the warm-start data of UnifiedReward-Think (``ImageGen-CoT-Reward-5K``) has them,
``{conversations: [{from, value}, {from, value}], images: [first, second]}``, whose reply is
``<think>…</think><answer>Image 1 is better</answer>``; and a plain table with a column of thoughts. The thoughts, freed
of their tags, become the pair's column ``trace``; image A is the image that they call the first.

Everything but the images is read when the source is opened, so that rows that cannot be used are told, or counted and
left out, before training. Conversations of several rounds, and replies without thoughts, are left out as bad rows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import datasets
import pyarrow as pa
from datasets.table import InMemoryTable

from lit_listener.data.images import is_url
from lit_listener.data.sources.bad_rows import BadRows
from lit_listener.data.sources.pair_index import PairColumns, PairIndex
from lit_listener.data.sources.pairs import TablePairs
from lit_listener.data.sources.rows import Rows, Table, open_rows
from lit_listener.data.sources.votes import NAMES, read_names

TRACE = "trace"
"""The column of a pair that its thoughts are in."""
CAPTION = r"Text Caption:\s*\[?(?P<prompt>.+?)\]?\s*\Z"
"""Where the question of a conversation names the prompt: behind "Text Caption:", in brackets or not, at its end."""
VERDICT = r"Image (?P<image>[12]) is better"
"""The answer of a conversation."""
_REPLY = re.compile(r"\s*<think>(?P<think>.*?)</think>\s*(?:<answer>(?P<answer>.*?)</answer>\s*)?", re.DOTALL)
_TAG = re.compile(r"</?(?:think|answer)>")
_ASKING, _REPLYING = ("human", "user"), ("gpt", "assistant")


class _BadRowError(ValueError):
    """A row that cannot be used."""

    def __init__(self, columns: Sequence[str], reason: str) -> None:
        super().__init__(reason)
        self.columns = columns


class _Traced(NamedTuple):
    """What is read of a row."""

    prompt: str
    images: tuple[Any, Any]
    preferred: str
    trace: str


class ImageGenCoT(TablePairs):
    """Pairs of conversations with thoughts, in the layout of ImageGen-CoT-Reward-5K.

    Args:
        path: a .json, .jsonl or .parquet file, a folder or glob of them, a hub id (owner/name), or a loaded
            ``datasets.Dataset``.
        split: which files of a folder, or which split of a hub data set; anything else is taken whole.
        prompt_pattern: regular expression that finds the prompt in the question, as its group "prompt"; its last match
            counts.
        answer_pattern: regular expression that the whole answer matches, with the better image (1 or 2) as its group
            "image".
        image_folder: folder that the images' paths lead from, relative to the table's.

    Raises:
        FileNotFoundError: There is no such table.
        ValueError: A pattern without its group, a table that cannot be read, a bad row, or no pair left.
    """

    def __init__(
        self,
        path: Table,
        split: str | None = None,
        *,
        prompt_pattern: str = CAPTION,
        answer_pattern: str = VERDICT,
        image_folder: str = "",
        **options: Any,
    ) -> None:
        asked = _pattern("prompt_pattern", prompt_pattern, "prompt")
        answered = _pattern("answer_pattern", answer_pattern, "image")

        def read(cells: Mapping[str, Any]) -> _Traced:
            question, reply = _turns(cells["conversations"])
            found = list(asked.finditer(question))
            if not found or not found[-1]["prompt"].strip():
                raise _BadRowError(["conversations"], f"prompt_pattern finds no prompt in {question[-200:]!r}")
            trace, answer = _thoughts(reply, ["conversations"])
            verdict = None if answer is None else answered.fullmatch(answer.strip())
            if verdict is None or verdict["image"] not in ("1", "2"):
                raise _BadRowError(["conversations"], f"answer_pattern does not match the answer {answer!r}")
            return _Traced(found[-1]["prompt"].strip(), _two(cells["images"]), "ab"[int(verdict["image"]) - 1], trace)

        rows = open_rows(path, split, ["conversations", "images"])
        rows.require("conversations", "images")
        table, index = _read_all(rows, read, image_folder)
        super().__init__(table, None, index=index, columns=table.column_names, opening={}, **options)


class TraceTable(TablePairs):
    """Pairs of a table that has a column of thoughts.

    Args:
        path: a .parquet, .jsonl, .json or .csv file, a folder or glob of them, a hub id (owner/name), or a loaded
            ``datasets.Dataset``.
        split: which files of a folder, or which split of a hub data set; anything else is taken whole.
        prompt: column with the prompt.
        image_a: column with the image that the thoughts call the first.
        image_b: column with the other image.
        preferred: column that names the preferred image: a, b or tie, or its index: 0 for image A, 1 for image B.
        trace: column with the thoughts, as plain text, or as <think>…</think> with or without an answer behind it,
            which is not read.

    Raises:
        FileNotFoundError: There is no such table.
        ValueError: A missing column, a bad row, or no pair left; the message names file, row and column.
    """

    def __init__(  # one option a column keeps a config flat
        self,
        path: Table,
        split: str | None = None,
        *,
        prompt: str = "prompt",
        image_a: str = "image_a",
        image_b: str = "image_b",
        preferred: str = "preferred",
        trace: str = "trace",
        **options: Any,
    ) -> None:
        def read(cells: Mapping[str, Any]) -> _Traced:
            text, written = cells[prompt], cells[trace]
            if not isinstance(text, str) or not text.strip():
                raise _BadRowError([prompt], f"expected a prompt, got {text!r}")
            if not isinstance(written, str):
                raise _BadRowError([trace], f"expected thoughts, got {written!r}")
            side = str(cells[preferred]).strip().lower()
            if side not in NAMES:
                raise _BadRowError([preferred], f"expected a, b or tie, or the index 0 or 1, got {cells[preferred]!r}")
            images = (_image(cells[image_a], image_a), _image(cells[image_b], image_b))
            thoughts = written.strip() if not _TAG.search(written) else _thoughts(written, [trace])[0]
            if not thoughts:
                raise _BadRowError([trace], "expected thoughts, got none")
            return _Traced(text, images, side, thoughts)

        columns = [prompt, image_a, image_b, preferred, trace]
        rows = open_rows(path, split, columns)
        rows.require(*columns, hint="Name yours as options: prompt, image_a, image_b, preferred, trace")
        table, index = _read_all(rows, read, "")
        super().__init__(table, None, index=index, columns=table.column_names, opening={}, **options)


def _read_all(
    rows: Rows, read: Callable[[Mapping[str, Any]], "_Traced"], image_folder: str
) -> tuple[datasets.Dataset, Callable[[Rows, BadRows], PairIndex]]:
    """Read all rows.

    Args:
        rows: the table.
        read: makes a pair of a row's cells, or raises ``_BadRowError``.
        image_folder: folder that the images' paths lead from.

    Returns:
        a table of what was read, and its index of pairs, which tells of the bad rows.
    """
    faults = {row: _BadRowError([column], reason) for row, column, reason in rows.odd}
    flat = [_flat(rows, row, read, image_folder, faults) for row in range(len(rows))]

    def index(opened: Rows, bad: BadRows) -> PairIndex:
        for row, fault in sorted(faults.items()):
            bad.note(row, fault.columns, str(fault))
        columns = PairColumns("prompt", "image_a", "image_b", pair_id="name", further=(TRACE,))
        return PairIndex.of_rows(columns, read_names(bad, "preferred"))

    info = datasets.DatasetInfo(dataset_name=rows.name)
    return datasets.Dataset(InMemoryTable(pa.Table.from_pylist(flat, schema=_SCHEMA)), info=info), index


_IMAGE = pa.struct([("bytes", pa.large_binary()), ("path", pa.string())])
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("name", "prompt", "preferred", TRACE)),
        *((name, _IMAGE) for name in ("image_a", "image_b")),
    ]
)


def _flat(rows: Rows, row: int, read: Any, image_folder: str, faults: dict[int, _BadRowError]) -> dict[str, Any]:
    """A row with each thing in a cell of its own; of a bad row, which is noted among the faults, the name alone."""
    name = {"name": f"{rows.stem}-{row}"}
    if row in faults:
        return name
    try:
        traced: _Traced = read(rows.cells(row))
    except _BadRowError as fault:
        faults[row] = fault
        return name
    images = [_from(rows, row, image_folder, image) for image in traced.images]
    told = {"prompt": traced.prompt, "preferred": traced.preferred, TRACE: traced.trace}
    return {**name, **told, "image_a": images[0], "image_b": images[1]}


def _from(rows: Rows, row: int, folder: str, image: Any) -> dict[str, Any]:
    """An image as its bytes, or as its path from here."""
    given: Any = (image.get("bytes") or image.get("path")) if isinstance(image, dict) else image
    if isinstance(given, bytes):
        return {"bytes": given, "path": None}
    return {"bytes": None, "path": given if is_url(given) else str(rows.folder(row) / folder / given)}


def _turns(conversation: Any) -> tuple[str, str]:
    """The question and the reply of a conversation of one round."""
    turns = conversation if isinstance(conversation, list) else []
    texts = [
        [turn.get("value") for turn in turns if isinstance(turn, dict) and turn.get("from") in speakers]
        for speakers in (_ASKING, _REPLYING)
    ]
    question, reply = (said[0] if len(said) == 1 else None for said in texts)
    if not isinstance(question, str) or not isinstance(reply, str):
        raise _BadRowError(
            ["conversations"],
            f"expected one turn from {' or '.join(_ASKING)} and one from {' or '.join(_REPLYING)}, each "
            f"{{from, value}}, got {str(conversation)[:200]!r}",
        )
    return question, reply


def _thoughts(reply: str, columns: Sequence[str]) -> tuple[str, str | None]:
    """The thoughts of a reply, and its answer if it has one."""
    read = _REPLY.fullmatch(reply)
    think = "" if read is None else read["think"].strip()
    if read is None or not think or _TAG.search(think) or _TAG.search(read["answer"] or ""):
        raise _BadRowError(columns, f"expected <think>thoughts</think><answer>…</answer>, got {reply[:200]!r}")
    return think, read["answer"]


def _two(images: Any) -> tuple[Any, Any]:
    if not isinstance(images, list) or len(images) != 2:
        raise _BadRowError(["images"], f"expected two images, got {str(images)[:200]!r}")
    return _image(images[0], "images"), _image(images[1], "images")


def _image(cell: Any, column: str) -> Any:
    """The cell, if there is an image in it."""
    given = (cell.get("bytes") or cell.get("path")) if isinstance(cell, dict) else cell
    if not isinstance(given, str | bytes) or not given:
        raise _BadRowError([column], f"expected the path or the bytes of an image, got {str(cell)[:200]!r}")
    return cell


def _pattern(option: str, pattern: str, group: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise ValueError(f"{option}: {pattern!r} is no regular expression: {error}") from error
    if group not in compiled.groupindex:
        raise ValueError(f"{option}: expected a group (?P<{group}>…) in {pattern!r}")
    return compiled
