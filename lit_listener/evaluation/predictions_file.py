"""Predictions on disk: one Parquet row a completion, so that reports and other tools need no model to read them.

Columns are the fields of ``Prediction`` under the same names; those with a default may be missing. Further columns in a
file are left alone when it is read.
"""

from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.replaced_file import replaced_file

SCHEMA = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("rollout", pa.int64(), nullable=False),
        pa.field("first", pa.string(), nullable=False),
        pa.field("label", pa.int64()),
        pa.field("answer", pa.int64()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("p_second", pa.float64()),
        pa.field("listener_p_second", pa.float64()),
        pa.field("listener_p_correct", pa.float64()),
        pa.field("contradicts", pa.bool_(), nullable=False),
        pa.field("stated_verdict", pa.int64()),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
        pa.field("trace", pa.string(), nullable=False),
        pa.field("share_a", pa.float64(), nullable=False),
        pa.field("generator_a", pa.string(), nullable=False),
        pa.field("generator_b", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("index", pa.int64(), nullable=False),
        pa.field("votes", pa.int64(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("list_id", pa.string()),
        pa.field("item_a", pa.int64()),
        pa.field("item_b", pa.int64()),
        pa.field("rank_a", pa.float64()),
        pa.field("rank_b", pa.float64()),
        pa.field("p_second_without_thinking", pa.float64()),
        pa.field("listener_p_second_stripped", pa.float64()),
        pa.field("independent_p_second", pa.float64()),
        pa.field("p_contradiction", pa.float64()),
        pa.field("prompt_in_training", pa.bool_()),
        pa.field("level", pa.bool_(), nullable=False),
        pa.field("likeliest_p_second", pa.float64()),
    ]
)
_MAY_BE_MISSING = frozenset(field.name for field in fields(Prediction) if field.default is not MISSING)
"""Columns that another program's file may leave out: they then have the record's defaults."""


def write_predictions(predictions: Sequence[Prediction], path: str | Path) -> None:
    """Write predictions to a Parquet file, replacing one that is there only once the new one is whole.

    Args:
        predictions: The rows; none at all gives a file of no rows.
        path: The file to write; missing folders are made.
    """
    table = pa.Table.from_pylist([asdict(row) for row in predictions], schema=SCHEMA)
    with replaced_file(Path(path)) as beside:
        pq.write_table(table, beside)


def read_predictions(path: str | Path) -> list[Prediction]:
    """Read the predictions of a Parquet file back, exactly as they were written.

    Args:
        path: A file of ``write_predictions``, or another with the same columns.

    Returns:
        The predictions in the file's order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no Parquet file, or columns are missing, of another type, or empty where they must not be;
            the message names all of them.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no predictions at {path}; `test` and `predict` write predictions.parquet")
    try:
        table = pq.ParquetFile(path).read()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} cannot be read as Parquet: {error}") from error
    faults = [fault for field in SCHEMA if (fault := _fault(table, field)) is not None]
    if faults:
        raise ValueError(f"{path} does not hold predictions: {'; '.join(faults)}")
    known = [name for name in SCHEMA.names if name in table.column_names]
    return [Prediction(**row) for row in table.select(known).to_pylist()]


def _fault(table: pa.Table, field: pa.Field) -> str | None:
    """What is wrong with one column of a table, or None."""
    found = table.column_names.count(field.name)
    if not found and field.name in _MAY_BE_MISSING:
        return None
    if found != 1:
        return f"column {field.name!r} is missing" if not found else f"column {field.name!r} is there {found} times"
    column = table.column(field.name)
    # Other writers store text with 64-bit offsets: the same text.
    same_text = pa.types.is_string(field.type) and pa.types.is_large_string(column.type)
    if column.type != field.type and not same_text:
        return f"column {field.name!r} must be {field.type}, got {column.type}"
    if column.null_count and not field.nullable:
        return f"column {field.name!r} must be filled, got {column.null_count} empty rows"
    return None
