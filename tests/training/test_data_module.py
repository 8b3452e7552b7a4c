import json
import warnings
from dataclasses import replace
from types import SimpleNamespace

import jsonargparse
import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image

from lit_listener.data.records import ListSource, PairSource, PreferencePair, RankedList
from lit_listener.data.shapes import ShapesPairs
from lit_listener.data.sources import PairTable
from lit_listener.evaluation.prediction import Prediction
from lit_listener.training.data_module import PreferenceData
from lit_listener.training.judged import shown_facts


@pytest.mark.parametrize("workers", [0, 2])
def test_a_table_of_ones_own_goes_through_the_data_module(tmp_path, workers):
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{name}.png")
    lines = [
        {"prompt": f"prompt {row}", "image_a": "red.png", "image_b": "blue.png", "up": row % 5, "down": 2}
        for row in range(15)
    ]
    path = tmp_path / "votes.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    parser = jsonargparse.ArgumentParser()
    parser.add_subclass_arguments(PairTable, "train")  # as a config names it
    table = {"class_path": "lit_listener.data.sources.PairTable"}
    table["init_args"] = {"path": str(path), "votes_a": "up", "votes_b": "down"}
    train = parser.instantiate(parser.parse_object({"train": table})).train
    data = PreferenceData(train=train, batch_size=4, num_workers=workers, seed=1)
    shown = [pair for batch in data.train_dataloader() for pair in batch]
    assert len(train) == len(shown) == 12  # three of fifteen rows are ties
    assert sum(pair.label for pair in shown) == 6
    assert len({pair.pair.prompt_id for pair in shown}) == 12
    for pair in shown:
        # Red is A, and wins with 3 or 4 votes against 2.
        red_won = pair.pair.votes >= 5
        assert pair.images[pair.label].getpixel((0, 0)) == ((255, 0, 0) if red_won else (0, 0, 255))


class Seen(lightning.LightningModule):
    """Writes down which pairs come in which step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.trained, self.validated = [], []

    def training_step(self, batch, batch_idx):
        self.trained.append([(pair.epoch, pair.index, pair.label) for pair in batch])
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.validated.append([(pair.index, pair.label) for pair in batch])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        return batch


class SaveAt(Callback):
    """Saves after some step: when its batch ends, or when its epoch does."""

    def __init__(self, folder, step: int) -> None:
        self.folder, self.step = folder, step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.folder / "batch.ckpt")

    def on_train_epoch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.folder / "epoch.ckpt")


def run(size: int, workers: int, *callbacks: Callback, checkpoint=None) -> Seen:
    data = PreferenceData(
        train=ShapesPairs(["flat"], size),
        validation={"held_in": ShapesPairs(["flat"], 7, split="validation")},
        batch_size=4,
        eval_batch_size=2,
        num_workers=workers,
    )
    module = Seen()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(
        accelerator="cpu", max_steps=8, max_epochs=-1, callbacks=list(callbacks), enable_model_summary=False, **quiet
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about workers, and how few they are
        trainer.fit(module, data, ckpt_path=checkpoint)
    return module


@pytest.mark.parametrize(
    ("size", "workers", "step", "saved"),
    # 12 pairs are three whole batches, of 14 two are left over; the epoch ends at step 3.
    [
        (12, 0, 2, "batch"),
        (12, 0, 3, "batch"),
        (12, 0, 3, "epoch"),
        (14, 0, 3, "epoch"),
        (14, 2, 2, "batch"),
        (12, 2, 3, "epoch"),
    ],
)
def test_training_goes_on_with_exactly_the_batches_that_were_left(tmp_path, size, workers, step, saved):
    whole = run(size, workers, SaveAt(tmp_path, step))
    assert [batch[0][0] for batch in whole.trained] == [0, 0, 0, 1, 1, 1, 2, 2]
    resumed = run(size, workers, checkpoint=tmp_path / f"{saved}.ckpt")
    assert resumed.trained == whole.trained[step:]


def test_anchors_are_for_lists_judged_by_anchors():
    for options in ({"anchors": 2}, {"anchor": 0}):
        with pytest.raises(ValueError, match=r"data\.anchors and data\.anchor are for data\.eval_lists: anchor"):
            PreferenceData(**options)


def test_the_sanity_check_leaves_validation_as_it_is():
    seen = run(12, 0)
    whole = [[index for index, _ in batch] for batch in seen.validated[2:]]
    assert whole == 2 * [[0, 1], [2, 3], [4, 5], [6]]  # after two batches of sanity check, one pass an epoch


def test_a_step_is_shared_by_all_processes():
    module = PreferenceData(ShapesPairs(["flat"], size=12), batch_size=4)
    module.trainer = SimpleNamespace(global_rank=1, world_size=2)
    assert [len(batch) for batch in module.train_dataloader()] == [2] * 3


def test_a_step_that_cannot_be_shared_evenly_is_refused():
    module = PreferenceData(ShapesPairs(["flat"], size=12), batch_size=4)
    module.trainer = SimpleNamespace(global_rank=0, world_size=3)
    with pytest.raises(ValueError, match=r"data.batch_size: 4 pairs.*shared evenly by 3 processes; choose a multiple"):
        module.train_dataloader()


class Gaps(ListSource):
    """A list of three images, the second of five that its table has and the fourth being bad."""

    def __len__(self) -> int:
        return 1

    def size(self, index: int) -> int:
        return 3

    def __getitem__(self, index: int) -> RankedList:
        images = tuple(Image.new("L", (2, 2), 10 * item) for item in (0, 2, 4))
        return RankedList("a dog", images, (1.0, 2.0, 3.0), "list", "prompt", ("",) * 3, items=(0, 2, 4))


class OfGaps(PairSource):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> PreferencePair:
        return Gaps()[0].pair(*((0, 1), (0, 2), (1, 2))[index])

    def ranked_lists(self) -> Gaps:
        return Gaps()


@pytest.mark.parametrize("protocol", ["pairs", "anchor"])
def test_a_judgements_images_are_found_again(protocol):
    data = PreferenceData(test={"lists": OfGaps()}, eval_lists=protocol)
    units = data.units("lists")
    shown = [one for unit in range(len(units)) for one in units.show(unit)]
    for one in shown:
        row = Prediction(
            **shown_facts(one, "lists"),
            rollout=0,
            answer=0,
            outcome="ok",
            p_second=0.5,
            listener_p_second=None,
            listener_p_correct=None,
            contradicts=False,
            stated_verdict=None,
            length=1,
            truncated=False,
            trace="",
        )
        image_a, image_b = data.images_of(row)
        assert image_a.getpixel((0, 0)) == 10 * row.item_a
        assert image_b.getpixel((0, 0)) == 10 * row.item_b
    with pytest.raises(ValueError, match=r"data\.test\.lists: pair .* is .* now, and was another"):
        data.images_of(replace(row, pair_id="another"))
