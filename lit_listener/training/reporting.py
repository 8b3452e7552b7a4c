"""Finished evaluations on their way into a report: their predictions, and the pictures that they are about."""

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonargparse
import yaml
from PIL.Image import Image

import lit_listener
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.predictions_file import read_predictions
from lit_listener.training.data_module import PreferenceData
from lit_listener.training.run.evaluations import JUDGING, PARTS, config_file
from lit_listener.training.run.reasons import one_reason

_VERSIONS = ("torch", "transformers", "lightning")


def read_runs(folders: Sequence[Path]) -> dict[str, list[Prediction]]:
    """The predictions of each run, by the name of its folder.

    Raises:
        FileNotFoundError: a folder holds no predictions.
        ValueError: a folder is named twice.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError(f"a run is compared with others, not with itself: got {[str(folder) for folder in folders]}")
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):  # the same name in different places
        names = [str(folder) for folder in folders]
    return {name: _predictions(folder) for name, folder in zip(names, folders, strict=True)}


def pictures_of(folders: Sequence[Path]) -> Callable[[Prediction], tuple[Image, Image] | None]:
    """Gives the pictures of a judged pair, from the data that the runs' configs name; None where no config does.

    What it gives raises ValueError or OSError, with the reason, where that data cannot be opened or has changed.
    """
    modules: list[PreferenceData] = []
    failed: list[Exception] = []
    for folder in folders:
        try:
            modules += _data(folder)
        except (OSError, ValueError, ImportError, jsonargparse.ArgumentError) as error:
            failed.append(ValueError(f"the data of {folder} cannot be opened: {one_reason(str(error))}"))

    def pictures(row: Prediction) -> tuple[Image, Image] | None:
        reasons = list(failed)
        for module in modules:
            if row.source in module.test:
                try:
                    return module.images_of(row)
                except (OSError, ValueError, IndexError) as error:
                    reasons.append(error)
        if reasons:
            raise reasons[-1]
        return None

    return pictures


def about_runs(runs: Mapping[str, Sequence[Prediction]], folders: Sequence[Path]) -> dict[str, Any]:
    """What numbers are of: when and with which versions they were computed, and from how much."""
    return {
        "date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "lit_listener": lit_listener.__version__,
        **{name: importlib.metadata.version(name) for name in _VERSIONS},
        "intervals": "95%, percentile bootstrap over prompts, 2000 resamples",
        "rows": {run: len(rows) for run, rows in runs.items()},
        "configs": {run: _config(folder) or "none" for run, folder in zip(runs, folders, strict=True)},
    }


def _predictions(folder: Path) -> list[Prediction]:
    path = folder / "predictions.parquet"
    if not path.is_file() and (folder / PARTS).is_dir():
        raise FileNotFoundError(
            f"{folder} holds an evaluation that was broken off; finish it: "
            f"python -m lit_listener test --resume {folder}"
        )
    rows = read_predictions(path)
    if not rows:
        raise ValueError(f"{path} holds no predictions: nothing to report")
    return rows


def _config(folder: Path) -> dict[str, Any] | None:
    for command in JUDGING:
        path = config_file(folder, command)
        if path.is_file():
            config: dict[str, Any] = yaml.safe_load(path.read_text())
            return {name: config[name] for name in ("model", "data", "ckpt_path", "seed_everything") if name in config}
    return None


def _data(folder: Path) -> list[PreferenceData]:
    """The data module of a run, and no model; none where there is no config."""
    config = _config(folder)
    if config is None:
        return []
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(PreferenceData, "data")
    parsed = parser.parse_object({"data": {**config["data"], "train": None}})
    module: PreferenceData = parser.instantiate_classes(parsed).data
    return [module]
