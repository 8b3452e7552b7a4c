"""Lightning's commands: ``fit``, ``validate``, ``test`` and ``predict``.

Every run has a folder of its own (``--run_dir``), which holds its config, metrics, samples and checkpoints.
"""

import contextlib
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import jsonargparse
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from lit_listener.training.callbacks import ExportModel, InterruptCheckpoint, PredictionsFile, SampleTable
from lit_listener.training.data_module import PreferenceData
from lit_listener.training.reasoner import Reasoner
from lit_listener.training.terminal import StepProgressBar

_OURS_INSTEAD = {
    "gradient_clip_val": "model.gradient_clip_norm",
    "accumulate_grad_batches": "model.updates.micro_batch_prompts (GRPO) or data.batch_size",
}


class SaveRunConfig(SaveConfigCallback):
    """Writes ``config.yaml`` into the folder of a training run; an evaluation leaves the one it finds."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Save for ``fit`` only."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)


class ReasonerCLI(LightningCLI):
    """LightningCLI with a folder a run, and messages that name our options."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Options of the run, its samples and its checkpoints."""
        parser.add_argument(
            "--run_dir",
            type=str | None,
            default=None,
            help="folder of the run; by default runs/<config's name>-<time>. Must hold no other run.",
        )
        parser.add_argument(
            "--wandb",
            type=Literal["off", "online", "offline"],
            default="off",
            help="log to Weights & Biases too, beside metrics.csv",
        )
        parser.add_lightning_class_args(SampleTable, "samples")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(ExportModel, "export")
        parser.set_defaults({"checkpoint.save_last": True, "checkpoint.save_top_k": 0})

    def before_instantiate_classes(self) -> None:
        """Give the run its folder and loggers; refuse Trainer options that our training has under other names."""
        config = self.config[self.subcommand] if self.subcommand else self.config
        for theirs, ours in _OURS_INSTEAD.items():
            if config.trainer.get(theirs) not in (None, 1):
                raise ValueError(f"--trainer.{theirs} does not apply to this training: use --{ours} instead")
        if not self.subcommand:  # built for looking at a run that exists
            config.trainer.default_root_dir, config.trainer.logger = config.run_dir, False
            return
        folder = Path(config.run_dir or _new_folder(config.config, self.subcommand))
        if self.subcommand == "fit" and (folder / "config.yaml").exists():
            raise FileExistsError(f"--run_dir: {folder} holds another run; name a new folder, or delete that one")
        config.run_dir = str(folder)
        config.trainer.default_root_dir = str(folder)
        config.checkpoint.dirpath = str(folder / "checkpoints")
        if config.trainer.logger in (None, True):
            config.trainer.logger = _loggers(folder, self.subcommand, config.wandb)


def build_cli(args: list[str] | dict[str, Any], *, run: bool = True) -> ReasonerCLI:
    """The CLI over reasoners and preference data.

    Args:
        args: the command line, or a whole config.
        run: run the subcommand; otherwise only build model, data and trainer from ``--config``.
    """
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    with _command_line(args if isinstance(args, list) else []):
        return ReasonerCLI(
            Reasoner,
            PreferenceData,
            subclass_mode_model=True,
            save_config_callback=SaveRunConfig,
            auto_configure_optimizers=False,
            trainer_defaults={"callbacks": [StepProgressBar(), InterruptCheckpoint(), PredictionsFile()]},
            args=args if isinstance(args, dict) else None,
            run=run,
        )


@contextlib.contextmanager
def _command_line(args: list[str]) -> Iterator[None]:
    """Lightning reads ``sys.argv``; children of a multi-process run repeat it."""
    before = sys.argv
    sys.argv = [before[0], *args]
    try:
        yield
    finally:
        sys.argv = before


def _loggers(folder: Path, command: str, wandb: str) -> list[dict[str, Any]]:
    if command != "fit":
        return []
    csv = {
        "class_path": "lightning.pytorch.loggers.CSVLogger",
        "init_args": {"save_dir": str(folder), "name": "", "version": "", "flush_logs_every_n_steps": 10},
    }
    if wandb == "off":
        return [csv]
    online = {
        "class_path": "lightning.pytorch.loggers.WandbLogger",
        "init_args": {"save_dir": str(folder), "project": "lit_listener", "offline": wandb == "offline"},
    }
    return [csv, online]


def _new_folder(configs: list[Any] | None, command: str) -> str:
    stem = Path(str(configs[0])).stem if configs else command
    return f"runs/{stem}-{datetime.now().strftime('%Y%m%d-%H%M%S')}"
