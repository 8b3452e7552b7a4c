"""What the tests of the published data sets share: small grey images, and what a loader with workers hands out."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from lit_listener.training.data_module import PreferenceData


def tone(image: Image.Image) -> int:
    return image.getpixel((0, 0))[0]


def grey(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (level, level, level)).save(file, "PNG")
    return file.getvalue()


def cell(level: int) -> dict:
    """An image as the hub's Parquet files hold it."""
    return {"bytes": grey(level), "path": f"{level}.png"}


def parquet(path, rows: list[dict]):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def loaded(pairs, workers: int = 2) -> list:
    data = PreferenceData(test={"t": pairs}, eval_batch_size=3, num_workers=workers)
    return [shown.pair for batch in data.test_dataloader()[0] for shown in batch]
