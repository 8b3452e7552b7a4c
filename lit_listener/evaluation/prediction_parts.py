"""The predictions of an evaluation that goes on: one small Parquet file a batch, each there whole or not at all.

Whatever ends the evaluation, what was judged until then is kept, and is left out when it is gone on with.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.predictions_file import read_predictions, write_predictions
from lit_listener.evaluation.replaced_file import replaced_file


class PredictionParts:
    """The parts of one evaluation, in a folder that all processes share.

    Args:
        folder: where they are; made when something is written.
        rank: which process writes here; each has file names of its own.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder = folder
        self._rank = rank

    def __bool__(self) -> bool:
        return self.folder.is_dir()

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Keep what a batch gave: all that was judged of its units."""
        if predictions:
            number = len(list(self.folder.glob(f"{self._rank:04d}-*.parquet")))
            write_predictions(predictions, self.folder / f"{self._rank:04d}-{number:06d}.parquet")

    def read(self) -> list[Prediction]:
        """All predictions there are, of all processes."""
        return [row for path in self._paths() for row in read_predictions(path)]

    def places(self) -> dict[str, set[int]]:
        """The places that were judged, of each source."""
        found: dict[str, set[int]] = {}
        for path in self._paths():
            table = pq.read_table(path, columns=["source", "index"])
            for source, index in zip(table["source"].to_pylist(), table["index"].to_pylist(), strict=True):
                found.setdefault(source, set()).add(index)
        return found

    def note(self, about: dict[str, Any]) -> None:
        """Keep what the predictions are of."""
        with replaced_file(self.folder / "about.json") as beside:
            beside.write_text(json.dumps(about))

    def noted(self) -> dict[str, Any]:
        """What the predictions are of; empty where nothing was noted."""
        path = self.folder / "about.json"
        about: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        return about

    def remove(self) -> None:
        """Delete them all."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.parquet"))
