"""Lightning's commands: ``fit``, ``validate``, ``test`` and ``predict``.

Every run has a folder of its own (``--run_dir``), which holds its config, metrics, samples and checkpoints.
"""

import contextlib
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NoReturn

import jsonargparse
from lightning import LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from lit_listener.training.callbacks import (
    ExportModel,
    InterruptCheckpoint,
    PredictionsFile,
    RunCheckpoint,
    SampleTable,
)
from lit_listener.training.data_module import PreferenceData
from lit_listener.training.reasoner import Reasoner
from lit_listener.training.terminal import StepProgressBar

_OURS_INSTEAD = {
    "gradient_clip_val": "model.gradient_clip_norm",
    "gradient_clip_algorithm": "model.gradient_clip_norm",
    "accumulate_grad_batches": "model.updates.micro_batch_prompts (GRPO) or data.batch_size",
}


class SaveRunConfig(SaveConfigCallback):
    """Writes ``config.yaml`` into the folder of a training run; an evaluation leaves the one it finds."""

    _steps_before: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save for ``fit`` only."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Into the run's folder, whatever folder a logger writes to."""
        path = Path(trainer.default_root_dir) / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.parser.save(self.config, path, skip_none=False, overwrite=False, multifile=False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note where training begins, or goes on."""
        self._steps_before = trainer.global_step

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """A run that broke off before its first step is none: its folder may be named again."""
        if self.already_saved and trainer.is_global_zero and self._steps_before in (None, trainer.global_step):
            folder = Path(trainer.default_root_dir)
            (folder / "config.yaml").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it holds something else
                folder.rmdir()


class QuietParser(LightningArgumentParser):
    """Answers a mistyped option with the error alone, not with all ninety options and the whole config."""

    def print_usage(self, file: Any = None) -> None:
        """Print nothing: the error names ``--help``."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Leave out what was given: it is the config."""
        super().error(message.split("\n  Given value type:", maxsplit=1)[0], ex)


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
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint")
        parser.add_lightning_class_args(ExportModel, "export")
        parser.set_defaults({"checkpoint.save_last": True, "checkpoint.save_top_k": 0})

    def before_instantiate_classes(self) -> None:
        """Give the run its folder; refuse Trainer options that do not go with our training."""
        config = self.config[self.subcommand] if self.subcommand else self.config
        _refuse_what_does_not_apply(config.trainer)
        if config.trainer.enable_progress_bar is False:  # Lightning takes a bar beside it for a contradiction
            kept = [
                callback for callback in self.trainer_defaults["callbacks"] if not isinstance(callback, ProgressBar)
            ]
            self.trainer_defaults["callbacks"] = kept
        if not self.subcommand:  # built for looking at a run that exists
            config.trainer.default_root_dir = config.run_dir
            return
        folder = Path(config.run_dir or _new_folder(config.config, self.subcommand))
        if self.subcommand == "fit" and (folder / "config.yaml").exists():
            raise FileExistsError(f"--run_dir: {folder} holds another run; name a new folder, or delete that one")
        if config.ckpt_path == "last":  # Lightning would go on without one where there is none
            config.ckpt_path = str(folder / "checkpoints" / "last.ckpt")
        if config.ckpt_path is not None and not Path(config.ckpt_path).is_file():
            raise FileNotFoundError(f"--ckpt_path: there is no checkpoint {config.ckpt_path}; name a file of a run")
        config.run_dir = str(folder)
        config.trainer.default_root_dir = str(folder)
        config.checkpoint.dirpath = str(folder / "checkpoints")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add the run's loggers, which are no part of its config: another run from it must not write to this folder."""
        config = self.config[self.subcommand] if self.subcommand else self.config
        if self.subcommand != "fit":
            kwargs["logger"] = False
        elif config.trainer.logger in (None, True):
            kwargs["logger"] = _loggers(config.run_dir, config.wandb)
        return super().instantiate_trainer(**kwargs)


def build_cli(args: list[str] | dict[str, Any], *, run: bool = True) -> ReasonerCLI:
    """The CLI over reasoners and preference data.

    Args:
        args: the command line, or a whole config.
        run: run the subcommand; otherwise only build model, data and trainer from ``--config``.

    Raises:
        ValueError: options are out of range, or contradict each other.
    """
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    with _command_line(args if isinstance(args, list) else []):
        try:
            return ReasonerCLI(
                Reasoner,
                PreferenceData,
                parser_class=QuietParser,
                subclass_mode_model=True,
                save_config_callback=SaveRunConfig,
                save_config_kwargs={"save_to_log_dir": False},
                parser_kwargs={"prog": "python -m lit_listener"},
                auto_configure_optimizers=False,
                trainer_defaults={"callbacks": [StepProgressBar(), InterruptCheckpoint(), PredictionsFile()]},
                args=args if isinstance(args, dict) else None,
                run=run,
            )
        except MisconfigurationException as error:  # an error of use, as ours are
            raise ValueError(str(error)) from error
        except ValueError as error:
            raise _without_the_config(error) from error
        except RuntimeError as error:  # Lightning's teardown stumbles over a loader that could not be set up
            if isinstance(error.__context__, ValueError):
                raise error.__context__ from None
            raise


def _refuse_what_does_not_apply(trainer: Any) -> None:
    for theirs, ours in _OURS_INSTEAD.items():
        given = trainer.get(theirs)
        if given is not None and (theirs, given) != ("accumulate_grad_batches", 1):
            raise ValueError(f"--trainer.{theirs} does not apply to this training: use --{ours} instead")
    if trainer.precision in ("16", 16, "16-mixed"):
        raise ValueError(
            f"--trainer.precision {trainer.precision}: gradients would be clipped while scaled: use bf16-mixed"
        )
    if trainer.enable_checkpointing is False:
        raise ValueError(
            "--trainer.enable_checkpointing: a run keeps its last checkpoint; to keep none, delete it after"
        )


def _without_the_config(error: ValueError) -> ValueError:
    """What one of our options said: jsonargparse tells it among the types it tried, with the whole config after it."""
    said: BaseException = error
    while str(said).startswith("Does not validate against any") and said.__cause__ is not None:
        said = said.__cause__
    return error if said is error else ValueError(str(said))


@contextlib.contextmanager
def _command_line(args: list[str]) -> Iterator[None]:
    """Lightning reads ``sys.argv``; children of a multi-process run repeat it."""
    before = sys.argv
    sys.argv = [before[0], *args]
    try:
        yield
    finally:
        sys.argv = before


def _loggers(folder: str, wandb: str) -> list[Logger]:
    csv = CSVLogger(folder, name="", version="", flush_logs_every_n_steps=10)
    if wandb == "off":
        return [csv]
    return [csv, WandbLogger(save_dir=folder, project="lit_listener", offline=wandb == "offline")]


def _new_folder(configs: list[Any] | None, command: str) -> str:
    stem = Path(str(configs[0])).stem if configs else command
    return f"runs/{stem}-{datetime.now().strftime('%Y%m%d-%H%M%S')}"
