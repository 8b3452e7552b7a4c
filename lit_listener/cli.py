"""Lightning's commands: ``fit``, ``validate``, ``test`` and ``predict``.

Every run has a folder of its own (``--run_dir``), which holds its config, metrics, samples and checkpoints. A run that
was ended by whatever is gone on with in its folder (``--resume``).
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jsonargparse
import yaml
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only

from lit_listener.command_line import QuietParser, command_line, typed, with_own_config, without_the_config
from lit_listener.training.callbacks import ExportModel, SampleTable
from lit_listener.training.data_module import PreferenceData
from lit_listener.training.judging_module import JudgingModule
from lit_listener.training.plan.callback import PlanMemory, printed_plan
from lit_listener.training.predictions import PredictionsFile
from lit_listener.training.run.checkpoints import RunCheckpoint
from lit_listener.training.run.config import SaveRunConfig, run_loggers, with_wording
from lit_listener.training.run.evaluations import JUDGING, FoundEvaluation, find_evaluation, refuse_other_settings
from lit_listener.training.run.folder import (
    CHOSEN_FOLDER,
    FoundRun,
    changes,
    find_run,
    go_on_with,
    new_folder,
    newest_folder,
    told_at_the_end,
)
from lit_listener.training.terminal import StepProgressBar
from lit_listener.training.watch.alarms import Alarms
from lit_listener.training.watch.post_mortem import PostMortem

_OURS_INSTEAD = {
    "gradient_clip_val": "model.gradient_clip_norm",
    "gradient_clip_algorithm": "model.gradient_clip_norm",
    "accumulate_grad_batches": "model.memory.max_tokens_per_pass (GRPO) or data.batch_size",
}


class ReasonerCLI(LightningCLI):
    """LightningCLI with a folder a run, and messages that name our options."""

    found: FoundRun | None = None
    """The run that is gone on with."""
    found_evaluation: FoundEvaluation | None = None
    """The evaluation that is gone on with."""
    prints_plan = False
    """Print the memory plan instead of training."""
    plan_for_gib: float | None = None

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Options of the run, its samples, its checkpoints and its alarms."""
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
        parser.add_lightning_class_args(Alarms, "alarms")

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "fit":
            parser.add_argument(
                "--resume",
                type=str | None,
                default=None,
                help="go on with the run in this folder, from its last checkpoint; auto: with the newest run of the "
                "config, or the one in --run_dir. Without --config the run's own is used; options that differ from it "
                "take effect.",
            )
            parser.add_argument(
                "--print_plan",
                action="store_true",
                help="print what a step's tensors will hold in memory and how it is cut to fit, and exit; reads the "
                "model's config and the first pairs of the data, no weights, and needs no GPU",
            )
            parser.add_argument(
                "--plan_for_gib",
                type=float | None,
                default=None,
                help="with --print_plan: memory of the GPU that is planned for, in GiB; by default this machine's",
            )
        if subcommand in JUDGING:
            parser.add_argument(
                "--resume",
                type=str | None,
                default=None,
                help="go on with the evaluation that was broken off in this folder; without --config its own is used",
            )
        return parser

    def _parse_ckpt_path(self) -> None:
        """Find the run to go on with, where Lightning would look for hyper-parameters, which our checkpoints lack."""
        config = self.config.get(self.config.get("subcommand") or "", {})
        self.prints_plan, self.plan_for_gib = config.pop("print_plan", False), config.pop("plan_for_gib", None)
        if self.plan_for_gib is not None and not self.prints_plan:
            raise ValueError("--plan_for_gib names the GPU of a plan: give --print_plan too, or leave it out")
        resume = config.pop("resume", None)
        if resume is None:
            return
        if (command := self.config["subcommand"]) in JUDGING:
            self.found_evaluation = find_evaluation(Path(resume), command)
            _refuse_another_folder(resume)
            config.run_dir = resume
            return
        if typed("--ckpt_path", sys.argv):
            raise ValueError(
                "--resume goes on from the run's own last checkpoint: leave out --ckpt_path, or leave out --resume and "
                "name a new --run_dir"
            )
        own = typed("--run_dir", sys.argv)
        if CHOSEN_FOLDER in os.environ:
            folder = Path(os.environ[CHOSEN_FOLDER])
        elif resume == "auto":
            folder = Path(own) if own else newest_folder(config.config)
        else:
            folder = Path(resume)
            _refuse_another_folder(resume)
        self.found = find_run(folder)
        config.run_dir = str(folder)
        config.ckpt_path = None
        if config.seed_everything is True:  # drawn at the run's start
            config.seed_everything = self.found.config["seed_everything"]

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
        started_by_another = os.environ.get(CHOSEN_FOLDER)
        folder = Path(started_by_another or config.run_dir or new_folder(config.config, self.subcommand))
        config.run_dir = config.trainer.default_root_dir = str(folder)
        if self.found is not None:
            self._tell_what_goes_on(self.found)
        elif self.found_evaluation is not None:
            self.save_config_kwargs["replaces"] = True
            refuse_other_settings(self.found_evaluation, self._dumped())
            _tell(f"Going on with {folder}")
        elif (
            self.subcommand == "fit"
            and not (started_by_another or self.prints_plan)
            and (folder / "config.yaml").exists()
        ):
            raise FileExistsError(
                f"--run_dir: {folder} holds another run; name a new folder, or delete that one, or go on with it: "
                f"--resume {folder}"
            )
        if config.ckpt_path == "last":  # Lightning would go on without one where there is none
            config.ckpt_path = str(folder / "checkpoints" / "last.ckpt")
        if config.ckpt_path is not None and not Path(config.ckpt_path).exists():
            raise FileNotFoundError(f"--ckpt_path: there is no checkpoint {config.ckpt_path}; name one of a run")

    def _tell_what_goes_on(self, found: FoundRun) -> None:
        """Say what has changed; end the program where nothing has, and nothing is left to do."""
        self.save_config_kwargs["replaces"] = True
        changed = changes(found.config, self._dumped())
        reached = f"after {found.rollouts} rollouts ({found.steps} optimizer steps)"
        if found.ended and not changed:
            _tell(f"{found.folder} has ended {reached}: nothing is left to do. To train further, raise its limit:")
            _tell(f"  {go_on_with(found.folder)} --trainer.max_steps …")
            sys.exit(0)
        _tell(f"Going on with {found.folder} {reached}")
        for name, (old, new) in changed.items():
            _tell(f"  {name}: {old} -> {new}")

    def _dumped(self) -> dict[str, Any]:
        """The config as a file of it would be read."""
        parser = self._parser(self.subcommand)
        text = with_wording(parser.dump(self.config[self.subcommand], skip_none=False))
        config: dict[str, Any] = yaml.safe_load(text)
        return config

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add the run's loggers, which are no part of its config: another run from it must not write to this folder."""
        config = self.config[self.subcommand] if self.subcommand else self.config
        if self.prints_plan:  # before there is a Trainer, which would want the config's GPUs
            _tell(str(printed_plan(self.model, self.datamodule, config.trainer, self.plan_for_gib)))
            sys.exit(0)
        if self.subcommand != "fit":
            kwargs["logger"] = False
        elif config.trainer.logger in (None, True):
            kwargs["logger"] = run_loggers(Path(config.run_dir), config.wandb)
        trainer = super().instantiate_trainer(**kwargs)
        for checkpoint in _run_checkpoints(trainer):
            checkpoint.go_on_with = go_on_with(config.run_dir)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, PredictionsFile):
                callback.goes_on = self.found_evaluation is not None
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        """Run it; processes that Lightning starts for it are told the folder."""
        before = os.environ.get(CHOSEN_FOLDER)
        os.environ[CHOSEN_FOLDER] = self.config[subcommand].run_dir
        try:
            super()._run_subcommand(subcommand)
        finally:
            del os.environ[CHOSEN_FOLDER]
            if before is not None:
                os.environ[CHOSEN_FOLDER] = before

    def fit(self, **kwargs: Any) -> None:
        """Train, from where the run was if it is gone on with; a run that a signal stopped exits as shells expect."""
        if self.found is not None:
            kwargs |= {"ckpt_path": str(self.found.checkpoint), "weights_only": True}
        try:
            self.trainer.fit(**kwargs)
        except SystemExit:
            for checkpoint in _run_checkpoints(self.trainer):
                if checkpoint.stopped_by is not None:
                    self._tell_the_end()
                    sys.exit(128 + checkpoint.stopped_by)
            raise
        self._tell_the_end()

    def _tell_the_end(self) -> None:
        for line in told_at_the_end(Path(self.config[self.subcommand].run_dir), judged=bool(self.datamodule.test)):
            _tell(line)

    def test(self, **kwargs: Any) -> None:
        """Judge the test pairs and show what that amounts to."""
        with _ctrl_c_as_shells_expect():
            self.trainer.test(**kwargs)

    def predict(self, **kwargs: Any) -> None:
        """Judge the test pairs; the rows are in a file, and not returned."""
        with _ctrl_c_as_shells_expect():
            self.trainer.predict(**{**kwargs, "return_predictions": False})  # which is an option of the subcommand


def build_cli(args: list[str] | dict[str, Any], *, run: bool = True) -> ReasonerCLI:
    """The CLI over judges and preference data.

    Args:
        args: the command line, or a whole config.
        run: run the subcommand; otherwise only build model, data and trainer from ``--config``.

    Raises:
        ValueError: options are out of range, or contradict each other.
    """
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    with command_line(with_own_config(args) if isinstance(args, list) else []):
        try:
            return ReasonerCLI(
                JudgingModule,
                PreferenceData,
                parser_class=QuietParser,
                subclass_mode_model=True,
                save_config_callback=SaveRunConfig,
                save_config_kwargs={"save_to_log_dir": False},
                parser_kwargs={"prog": "python -m lit_listener"},
                auto_configure_optimizers=False,
                trainer_defaults={"callbacks": [StepProgressBar(), PredictionsFile(), PostMortem(), PlanMemory()]},
                args=args if isinstance(args, dict) else None,
                run=run,
            )
        except MisconfigurationException as error:  # an error of use, as ours are
            raise ValueError(str(error)) from error
        except ValueError as error:
            raise without_the_config(error) from error
        except RuntimeError as error:  # Lightning's teardown stumbles over a loader that could not be set up
            if isinstance(error.__context__, ValueError):
                raise error.__context__ from None
            raise


def _refuse_another_folder(resume: str) -> None:
    own = typed("--run_dir", sys.argv)
    if own and Path(own).resolve() != Path(resume).resolve():
        raise ValueError(f"--resume {resume} goes on in that folder: leave out --run_dir, which names {own}")


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


def _run_checkpoints(trainer: Trainer) -> list[RunCheckpoint]:
    return [c for c in trainer.callbacks if isinstance(c, RunCheckpoint)]  # type: ignore[attr-defined]


@contextlib.contextmanager
def _ctrl_c_as_shells_expect() -> Iterator[None]:
    """Lightning ends an interrupted evaluation with status 1."""
    try:
        yield
    except SystemExit as stopped:
        if isinstance(stopped.__context__, KeyboardInterrupt):
            sys.exit(128 + signal.SIGINT)
        raise


@rank_zero_only
def _tell(line: str) -> None:
    print(line, flush=True)
