"""What happens beside training: sample tables and exported models."""

import csv
import io
import os
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table

from lit_listener.training.listener_grpo import ListenerGRPO
from lit_listener.training.run.metrics_file import keep_rows
from lit_listener.training.trained_module import TrainedModule
from lit_listener.vlm.saving import save_model
from lit_listener.vlm.specs import DTypeName

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
        self._written = 0
        self._gone_on = False

    def state_dict(self) -> dict[str, int]:
        """The counts of rollouts and of rows."""
        return {"rollouts": self._rollouts, "rows": self._written}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on counting."""
        self._rollouts, self._written, self._gone_on = state["rollouts"], state["rows"], True

    @rank_zero_only
    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Cut the file of a run that is gone on with back to what the checkpoint knows of."""
        path = Path(trainer.default_root_dir) / "samples.csv"
        if not path.exists():
            self._written = 0
        elif self._gone_on:
            keep_rows(path, self._written)

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
        trail = module.trail
        shown, labels = trail.shown, trail.labels
        transcripts, rewards, heard = trail.transcripts, trail.rewards, trail.heard
        assert shown and labels and transcripts  # noqa: PT018  # a step has ended
        assert rewards and heard  # noqa: PT018
        count = min(self.completions, module.group_size)
        return [
            [
                step,
                shown[0].prompt,
                labels[0],
                transcripts[n].answer,
                str(transcripts[n].outcome),
                round(float(rewards.p_correct_N[n]), 3) if bool(heard.readable_N[n]) else None,
                round(float(rewards.total_N[n]), 3),
                transcripts[n].text,
            ]
            for n in range(count)
        ]

    def _append(self, path: Path, rows: list[list[Any]]) -> None:
        text = io.StringIO()
        writer = csv.writer(text)
        if not path.exists() or path.stat().st_size == 0:
            writer.writerow(_SAMPLE_COLUMNS)
        writer.writerows(rows)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", newline="") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())  # a checkpoint that counts them may follow
        self._written += len(rows)


class ExportModel(Callback):
    """Writes the trained model as a Hugging Face folder when training ends, and how it is asked (``judge.json``).

    Args:
        folder: where, within the run's folder ("model"); null writes none.
        dtype: number format of the saved weights.
    """

    def __init__(self, folder: str | None = None, dtype: DTypeName = "float16") -> None:
        self.folder = folder
        self.dtype: DTypeName = dtype

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Refuse, before training, what could not be saved after it.

        Raises:
            ValueError: the weights are in 4 bits or sharded.
        """
        if stage != "fit" or not self.folder or not isinstance(pl_module, TrainedModule):
            return
        afterwards = "leave it out, and export the run after training: python -m lit_listener export"
        if pl_module.policy_spec.quantization:
            raise ValueError(f"--export.folder: adapters are not merged into 4-bit weights; {afterwards} --merge")
        if isinstance(trainer.strategy, ModelParallelStrategy):
            raise ValueError(  # noqa: TRY004  # an option is wrong, not an argument's type
                f"--export.folder: no process holds all of sharded weights; {afterwards}"
            )

    @rank_zero_only
    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save once training has run to its end (an interrupted run keeps its checkpoint instead)."""
        if not self.folder or not isinstance(pl_module, TrainedModule) or trainer.interrupted:
            return
        run = Path(trainer.default_root_dir)
        beside = pl_module.model_files(run / "config.yaml")
        save_model(pl_module.policy, pl_module.reader, run / self.folder, self.dtype, beside)


def _sample_table(rows: list[list[Any]]) -> Table:
    table = Table(title=f"step {rows[0][0]}: {rows[0][1]!r}, preferred: {rows[0][2]}", title_justify="left")
    for column in _SAMPLE_COLUMNS[3:]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("-" if cell is None else str(cell) for cell in row[3:]))
    return table
