"""What a training run writes of itself into its folder: its config, and its logs."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import yaml
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import Logger, WandbLogger

from lit_listener.evaluation.replaced_file import replaced_file
from lit_listener.judging.card import settled_task
from lit_listener.tasks.wording_file import FILE
from lit_listener.training.run.evaluations import JUDGING, config_file
from lit_listener.training.run.folder import changes, free_name
from lit_listener.training.run.metrics_file import MetricsFile


class SaveRunConfig(SaveConfigCallback):
    """Writes ``config.yaml`` into the folder of a training run; ``test`` and ``predict`` have files of their own.

    A run that is gone on with gets the config of its new start, if that is another, and keeps the old one beside it.

    Args:
        args: see Lightning.
        replaces: whether the run is gone on with.
        kwargs: see Lightning.
    """

    def __init__(self, *args: Any, replaces: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.replaces = replaces
        self._steps_before: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save, but not for ``validate``; where a run is gone on with, once that has worked."""
        if stage == "fit" and not self.replaces:
            super().setup(trainer, pl_module, stage)
        if stage in JUDGING and not self.replaces and trainer.is_global_zero:
            command = "test" if stage == "test" else "predict"  # Lightning's stage is an enumeration's member
            with replaced_file(config_file(Path(trainer.default_root_dir), command)) as beside:
                beside.write_text(self._text())

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Into the run's folder, whatever folder a logger writes to."""
        path = Path(trainer.default_root_dir) / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.parser.save(self.config, path, skip_none=False, overwrite=False, multifile=False)
        path.write_text(with_wording(path.read_text()))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note where training begins, or goes on, and what other logs call this run."""
        self._steps_before = trainer.global_step
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        if self.replaces:
            self._replace(folder / "config.yaml")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and logger.version:
                _wandb_id(folder).write_text(f"{logger.version}\n")

    def _replace(self, path: Path) -> None:
        text = self._text()
        if changes(yaml.safe_load(path.read_text()), yaml.safe_load(text)):
            shutil.copyfile(path, free_name(path.parent))
            with replaced_file(path) as beside:
                beside.write_text(text)

    def _text(self) -> str:
        return with_wording(self.parser.dump(self.config, skip_none=False))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """A run that broke off before its first step is none: its folder may be named again."""
        if self.already_saved and trainer.is_global_zero and self._steps_before in (None, trainer.global_step):
            folder = Path(trainer.default_root_dir)
            (folder / "config.yaml").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it holds something else
                folder.rmdir()


def with_wording(text: str) -> str:
    """A config with the content of the task's wording in the place of the file's name: the file may change or go.

    Args:
        text: the config as YAML.
    """
    config = yaml.safe_load(text)
    task = ((config.get("model") or {}).get("init_args") or {}).get("task") or {}
    if not (task.get("init_args") or {}).get(FILE):
        return text
    settled = settled_task(task)["init_args"]
    if settled.get(FILE):  # of a class of the user's own, which alone knows what is in it
        return text
    options = {**settled, FILE: None}
    task["init_args"] = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def run_loggers(folder: Path, wandb: str) -> list[Logger]:
    """A run's loggers; a run that is gone on with goes on at Weights & Biases too.

    Args:
        folder: the run's folder.
        wandb: off, online or offline.
    """
    metrics = MetricsFile(folder)
    if wandb == "off":
        return [metrics]
    known = _wandb_id(folder)
    return [
        metrics,
        WandbLogger(
            save_dir=folder,
            project="lit_listener",
            offline=wandb == "offline",
            id=known.read_text().strip() if known.exists() else None,
            resume="allow",
        ),
    ]


def _wandb_id(folder: Path) -> Path:
    """Where a run's name at Weights & Biases is kept."""
    return folder / "wandb_id"
