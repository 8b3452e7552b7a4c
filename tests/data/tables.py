"""Small tables and images, written as a user would have them."""

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

RED, BLUE = (255, 0, 0), (0, 0, 255)
SUFFIXES = (".parquet", ".jsonl", ".csv")


def png(colour) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(file, "PNG")
    return file.getvalue()


def rows(*votes, **columns) -> list[dict]:
    """One row for each vote, which fills the columns it names."""
    plain = {"prompt": "a cat", "image_a": "pictures/red.png", "image_b": "pictures/blue.png"}
    return [plain | vote | columns for vote in votes]


def write(path: Path, cells: list[dict]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(cells), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in cells))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, cells[0])
            writer.writeheader()
            writer.writerows(cells)
    return path
