"""What happens beside training: sample tables, prediction files, exported models, and a checkpoint on the way out."""

import csv
import io
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from rich.console import Console
from rich.table import Table

from lit_listener.evaluation.metrics import Prediction, summary
from lit_listener.evaluation.predictions_file import write_predictions
from lit_listener.evaluation.tables import summary_table
from lit_listener.training.listener_grpo import ListenerGRPO
from lit_listener.training.reasoner import Reasoner
from lit_listener.training.terminal import wide_terminal
from lit_listener.vlm.loading import DTypeName, save_model

_SAMPLE_COLUMNS = ("step", "prompt", "label", "answer", "outcome", "p_correct", "reward", "completion")


class SampleTable(Callback):
    """Shows some completions with their rewards, and keeps them in ``samples.csv`` of the run's folder.

    Args:
        every_n_steps: rollouts between two tables; 0 shows none.
        completions: completions of the rollout's first prompt in a table.
        show: print the table to the terminal as well.
    """

    def __init__(self, every_n_steps: int = 20, completions: int = 4, show: bool = True) -> None:
        self.every_n_steps = every_n_steps
        self.completions = completions
        self.show = show
        self._rollouts = 0

    def state_dict(self) -> dict[str, int]:
        """The count of rollouts."""
        return {"rollouts": self._rollouts}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on counting."""
        self._rollouts = state["rollouts"]

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Write and show the samples of this rollout, when it is its turn."""
        if not isinstance(pl_module, ListenerGRPO) or not self.every_n_steps:
            return
        due = self._rollouts % self.every_n_steps == 0
        self._rollouts += 1
        if not due:
            return
        rows = self._rows(pl_module, trainer.global_step)
        self._append(Path(trainer.default_root_dir) / "samples.csv", rows)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_text("samples", columns=list(_SAMPLE_COLUMNS), data=rows, step=trainer.global_step)
        if self.show:
            Console().print(_sample_table(rows))

    def _rows(self, module: ListenerGRPO, step: int) -> list[list[Any]]:
        shown, transcripts, rewards, heard = module.last_step
        count = min(self.completions, module.group_size)
        return [
            [
                step,
                shown[0].pair.prompt,
                shown[0].label,
                transcripts[n].answer,
                str(transcripts[n].outcome),
                round(float(rewards.p_correct_N[n]), 3) if bool(heard.readable_N[n]) else None,
                round(float(rewards.total_N[n]), 3),
                transcripts[n].text,
            ]
            for n in range(count)
        ]

    @staticmethod
    def _append(path: Path, rows: list[list[Any]]) -> None:
        text = io.StringIO()
        writer = csv.writer(text)
        if not path.exists():
            writer.writerow(_SAMPLE_COLUMNS)
        writer.writerows(rows)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", newline="") as file:
            file.write(text.getvalue())


class PredictionsFile(Callback):
    """Gathers what ``test`` and ``predict`` judged into ``predictions.parquet`` of the run's folder.

    ``test`` ends with a table of each source's measures, with 95% intervals.
    """

    def __init__(self) -> None:
        self.predictions: list[Prediction] = []
        self.only_gather = False
        """Neither write nor show: for who goes on with the predictions."""

    def on_test_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin anew."""
        self.predictions = []

    def on_test_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep a batch's predictions."""
        self.predictions.extend(Prediction(**row) for row in outputs)

    @rank_zero_only
    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the file, whole, and show what it amounts to."""
        if self.only_gather:
            return
        self._write(trainer)
        rows = {name: [p for p in self.predictions if p.source == name] for name in self._sources()}
        wide_terminal().print(summary_table({name: summary(predictions) for name, predictions in rows.items()}))

    on_predict_start = on_test_start
    on_predict_batch_end = on_test_batch_end

    @rank_zero_only
    def on_predict_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the file, whole."""
        self._write(trainer)

    def _sources(self) -> list[str]:
        return list(dict.fromkeys(prediction.source for prediction in self.predictions))

    def _write(self, trainer: lightning.Trainer) -> None:
        path = Path(trainer.default_root_dir) / "predictions.parquet"
        write_predictions(self.predictions, path)
        rank_zero_info(f"Predictions: {path}")


class ExportModel(Callback):
    """Writes the trained model as a Hugging Face folder when training ends.

    Args:
        folder: where, within the run's folder ("model"); null writes none.
        dtype: number format of the saved weights.
    """

    def __init__(self, folder: str | None = None, dtype: DTypeName = "float16") -> None:
        self.folder = folder
        self.dtype: DTypeName = dtype

    @rank_zero_only
    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save once training has run to its end (an interrupted run keeps its checkpoint instead)."""
        if self.folder and isinstance(pl_module, Reasoner) and not trainer.interrupted:
            save_model(pl_module.policy, pl_module.reader, Path(trainer.default_root_dir) / self.folder, self.dtype)


class RunCheckpoint(ModelCheckpoint):
    """Lightning's checkpoints, of which ``last.ckpt`` is always the end of training.

    Lightning writes ``last.ckpt`` after a validation and not again at the end, so that the steps after the last
    validation would be lost. ``every_n_train_steps`` counts optimizer steps; where a batch makes several, the
    checkpoint is that of the batch in which a multiple of it was reached.
    """

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Count from where training begins, or goes on."""
        super().on_train_start(trainer, pl_module)
        self._steps_before = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save when it is time."""
        if pl_module.automatic_optimization:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            return
        every = self._every_n_train_steps
        due = every > 0 and trainer.global_step // every > self._steps_before // every
        self._steps_before = trainer.global_step
        if due and not self._should_skip_saving_checkpoint(trainer):
            measured = self._monitor_candidates(trainer)
            self._save_topk_checkpoint(trainer, measured)
            self._save_last_checkpoint(trainer, measured)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save the end, unless that was done already."""
        if self.save_last and not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))


class InterruptCheckpoint(Callback):
    """Saves ``checkpoints/interrupted.ckpt`` of the run's folder when training is broken off, by Ctrl-C or an error.

    What Lightning's ``save_on_exception`` saves is a loader that has already moved past the batch that was broken off:
    going on from it, that batch would never be seen. Here it is seen again (but for the first one of a later epoch).
    """

    def __init__(self) -> None:
        self._steps_before: int | None = None
        self._batches = -1
        self._loader_states: list[dict[str, Any]] = []
        self._breaking_off = False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note where training begins, or goes on."""
        self._steps_before = trainer.global_step
        self._note(trainer)

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Note where the loader is after a finished batch."""
        self._note(trainer)

    def _note(self, trainer: lightning.Trainer) -> None:
        self._batches = _processed(trainer)
        self._loader_states = trainer.fit_loop.on_save_checkpoint().get("combined_loader", [])

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Save what was learnt, if anything was, and say where."""
        if trainer.state.fn != "fit" or self._steps_before in (None, trainer.global_step):
            return
        path = Path(trainer.default_root_dir) / "checkpoints" / "interrupted.ckpt"
        self._breaking_off = True
        trainer.save_checkpoint(path, weights_only=False)
        rank_zero_info(
            f"Stopped after {trainer.global_step} optimizer steps; go on with --ckpt_path {path} and a new --run_dir"
        )

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Turn the loader back to the last finished batch, if one was broken off within this epoch."""
        if not self._breaking_off or _processed(trainer) != self._batches:
            return
        if trainer.fit_loop.epoch_loop.batch_progress.current.completed > 0:
            checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"] = self._loader_states


def _processed(trainer: lightning.Trainer) -> int:
    """Batches trained on, of all epochs."""
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress.total
    return int(progress.processed)


def _sample_table(rows: list[list[Any]]) -> Table:
    table = Table(title=f"step {rows[0][0]}: {rows[0][1]!r}, preferred: {rows[0][2]}", title_justify="left")
    for column in _SAMPLE_COLUMNS[3:]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("-" if cell is None else str(cell) for cell in row[3:]))
    return table
