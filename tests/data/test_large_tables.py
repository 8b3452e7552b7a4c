"""A million rows: opened in seconds, in little memory, and read without any growth."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

ROWS = 1_000_000

READ = """
import sys, time
import datasets
from pathlib import Path
from lit_listener.data.sources import PairTable
from lit_listener.data.order import EpochOrder

datasets.config.HF_DATASETS_CACHE = Path(sys.argv[2])

def memory(kind):
    return int(Path("/proc/self/status").read_text().split(kind + ":")[1].split()[0]) / 1024

before, start = memory("VmRSS"), time.perf_counter()
pairs = PairTable(sys.argv[1], fraction=0.5)
seconds, peak = time.perf_counter() - start, memory("VmHWM") - before
order = iter(EpochOrder(len(pairs), seed=0, shuffle=True))
held = []
for count, (index, _, _) in enumerate(order):
    pairs.prompt(index)
    if count % 100_000 == 20_000:
        held.append(memory("RssAnon"))
    if len(held) == 3:
        break
print(len(pairs), seconds, peak, max(held) - held[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".json"])
def test_a_million_rows(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    table = pa.table(
        {
            "prompt": [f"a prompt as people write them, number {n // 4}, highly detailed, 8k" for n in range(ROWS)],
            "image_a": [f"images/{n:08d}_a.jpg" for n in range(ROWS)],
            "image_b": [f"images/{n:08d}_b.jpg" for n in range(ROWS)],
            "share_a": [n % 7 / 6 for n in range(ROWS)],
        }
    )
    if suffix == ".parquet":
        pq.write_table(table, path)
    elif suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        lines = [json.dumps(row) for batch in table.to_batches(50_000) for row in batch.to_pylist()]
        path.write_text(f"[{', '.join(lines)}]" if suffix == ".json" else "\n".join(lines))
        del lines
    # In a process of its own, so that memory is only what the reading takes.
    run = [sys.executable, "-c", READ, str(path), str(tmp_path / "cache")]
    said = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    used, seconds, peak, growth = map(float, said)
    ties = len(range(3, ROWS, 7))
    assert used == round((ROWS - ties) / 2)
    assert seconds < 10
    assert peak < 1000  # MiB
    assert growth < 10
