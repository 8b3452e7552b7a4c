"""What ``test`` and ``predict`` leave behind: the predictions, written as they come, and what they amount to."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info

from lit_listener.evaluation.contents import headlines, sections
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.prediction_parts import PredictionParts
from lit_listener.evaluation.predictions_file import read_predictions, write_predictions
from lit_listener.evaluation.results_file import write_results
from lit_listener.evaluation.tables import result_table
from lit_listener.training.data_module import PreferenceData
from lit_listener.training.reporting import about_runs
from lit_listener.training.run.evaluations import JUDGING, PARTS, fingerprint
from lit_listener.training.terminal import wide_terminal
from lit_listener.vlm import ranks


class PredictionsFile(Callback):
    """Writes what ``test`` and ``predict`` judge, batch by batch, and in the end as ``predictions.parquet``.

    ``test`` ends with ``results.json`` and a table of each source's most telling measures, with 95% intervals.
    """

    def __init__(self) -> None:
        self.predictions: list[Prediction] = []
        """All of them, on the first process, once the evaluation has ended."""
        self.only_gather = False
        """Neither keep nor show: for who goes on with the predictions."""
        self.goes_on = False
        """Leave out what the folder's parts hold already."""
        self._parts = PredictionParts(Path(PARTS))
        self._judges = False
        """Whether this is an evaluation: the callback stands by in training too."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Find out, before there are loaders, what was judged before.

        Raises:
            FileExistsError: the folder holds an evaluation, and nobody said what to do with it.
        """
        self._judges = stage in JUDGING
        if not self._judges:
            return
        folder = Path(trainer.default_root_dir) / (f"gathering-{PARTS}" if self.only_gather else PARTS)
        self._parts = PredictionParts(folder, trainer.global_rank)
        if not (self.goes_on or self.only_gather):
            _refuse_what_is_there(folder)
        if self.only_gather and trainer.is_global_zero:
            self._parts.remove()
        if self.goes_on and not self._parts and trainer.is_global_zero:
            self._take_up(Path(trainer.default_root_dir) / "predictions.parquet")
        ranks.barrier()
        data = _data(trainer)
        if data is not None:
            data.judged = self._parts.places() if self.goes_on else {}
        ranks.barrier()  # nobody writes before all have read

    def on_test_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note which weights are judged; refuse to go on with others.

        Raises:
            ValueError: what was judged before was judged with another checkpoint.
        """
        about = {"checkpoint": fingerprint(trainer.ckpt_path)}
        if (noted := self._parts.noted()) and noted != about:
            raise ValueError(
                f"--resume: the checkpoint has changed since the evaluation in {self._parts.folder.parent} began (it "
                f"was {noted['checkpoint']}, and is {about['checkpoint']}); start another without --resume"
            )
        if trainer.is_global_zero:
            self._parts.note(about)

    def on_test_batch_end(  # Lightning's signature
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep a batch's predictions."""
        self._parts.add([Prediction(**row) for row in outputs])

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the file, whole, and show what it amounts to."""
        self._gather(trainer)
        if trainer.is_global_zero and not self.only_gather:
            self._write(trainer)
            self._show(Path(trainer.default_root_dir))
        self._let_go(trainer)

    def _show(self, folder: Path) -> None:
        """Compute all figures, keep them in ``results.json``, and print the most telling ones."""
        runs = {folder.resolve().name: self.predictions}
        found = sections(runs)
        write_results(folder / "results.json", found, about_runs(runs, [folder]))
        console = wide_terminal()
        console.print(result_table(headlines(found)))
        console.print(
            f"Every table and figure: python -m lit_listener report {shlex.quote(str(folder))}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )

    on_predict_start = on_test_start
    on_predict_batch_end = on_test_batch_end

    def on_predict_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the file, whole."""
        self._gather(trainer)
        if trainer.is_global_zero:
            self._write(trainer)
        self._let_go(trainer)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Say how to go on."""
        if not self._judges or self.only_gather or not trainer.is_global_zero:
            return
        if judged := self._parts.places():
            count = sum(map(len, judged.values()))
            command = f"python -m lit_listener {'predict' if trainer.predicting else 'test'}"
            again = f"{command} --resume {shlex.quote(str(self._parts.folder.parent))}"
            print(f"{count} pairs (or lists) were judged. Go on with: {again}", file=sys.stderr, flush=True)

    def _gather(self, trainer: lightning.Trainer) -> None:
        """Bring all ranks' predictions together on the first."""
        ranks.barrier()
        if trainer.is_global_zero:
            data, rows = _data(trainer), self._parts.read()
            self.predictions = rows if data is None else _in_order(_with_overlap(rows, data), list(data.test))

    def _write(self, trainer: lightning.Trainer) -> None:
        path = Path(trainer.default_root_dir) / "predictions.parquet"
        write_predictions(self.predictions, path)
        rank_zero_info(f"Predictions: {path}")

    def _let_go(self, trainer: lightning.Trainer) -> None:
        """Delete the parts, once all that was to be made of them is there."""
        if trainer.is_global_zero:
            self._parts.remove()
        ranks.barrier()

    def _take_up(self, path: Path) -> None:
        """Make a part of what an evaluation that has ended left behind."""
        if path.is_file():
            self._parts.add(read_predictions(path))
            print(f"{path.parent} has ended: nothing is left to judge, and its figures are computed anew", flush=True)


def _refuse_what_is_there(parts: Path) -> None:
    """Hours of judging must not be overwritten."""
    folder = parts.parent
    for left, what in ((parts, "that was broken off"), (folder / "predictions.parquet", "that has ended")):
        if left.exists():
            raise FileExistsError(
                f"--run_dir: {folder} holds an evaluation {what}; go on with it: --resume {folder}, or name another "
                f"folder, or delete {left}"
            )


def _data(trainer: lightning.Trainer) -> PreferenceData | None:
    data = trainer.datamodule  # type: ignore[attr-defined]
    return data if isinstance(data, PreferenceData) else None


def _with_overlap(rows: Sequence[Prediction], data: PreferenceData) -> list[Prediction]:
    """The rows with word on whether their prompts were trained on."""
    known = data.prompts_trained_on({row.prompt for row in rows})
    return [replace(row, prompt_in_training=None if known is None else row.prompt in known) for row in rows]


def _in_order(rows: Sequence[Prediction], sources: Sequence[str]) -> list[Prediction]:
    """By source, place, display order and rollout: the same however many processes there were."""
    place = {source: number for number, source in enumerate(sources)}

    def key(row: Prediction) -> tuple[int, int, int, int, str, int]:
        return place[row.source], row.index, row.item_a or 0, row.item_b or 0, row.first, row.rollout

    return sorted(rows, key=key)
