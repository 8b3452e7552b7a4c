"""What a run leaves behind: samples, predictions, an exported model."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from transformers import AutoConfig

from lit_listener.evaluation.predictions_file import read_predictions
from lit_listener.training.callbacks import ExportModel, SampleTable
from lit_listener.training.predictions import PredictionsFile
from lit_listener.vlm.loading import load_backbone
from lit_listener.vlm.specs import LoraSpec, PolicySpec
from tests.training.tiny_runs import TEMPLATE, data, grpo, pairs, trainer


def samples(folder: Path) -> list[dict[str, str]]:
    with (folder / "samples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


class LastSteps(Callback):
    """Keeps what every step left for the sample table."""

    def __init__(self) -> None:
        self.steps: list[Any] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        trail = pl_module.trail
        self.steps.append((trail.shown, trail.transcripts, trail.rewards, trail.heard))


def test_samples_are_the_first_prompts_completions(tmp_path, capsys):
    kept = LastSteps()
    module = grpo(group_size=3)
    trainer(tmp_path, 3, kept, SampleTable(every_n_steps=2, completions=4)).fit(module, data())
    rows = samples(tmp_path)
    assert [row["step"] for row in rows] == ["1"] * 3 + ["3"] * 3  # every second rollout; no more than the group has
    for start, (shown, transcripts, rewards, heard) in ((0, kept.steps[0]), (3, kept.steps[2])):
        for n in range(3):
            row, transcript = rows[start + n], transcripts[n]
            assert row["prompt"] == shown[0].pair.prompt
            assert row["label"] == str(shown[0].label)
            assert row["completion"] == transcript.text
            assert row["outcome"] == str(transcript.outcome)
            assert row["answer"] == ("" if transcript.answer is None else str(transcript.answer))
            assert float(row["reward"]) == pytest.approx(float(rewards.total_N[n]), abs=6e-4)
            assert bool(row["p_correct"]) == bool(heard.readable_N[n])
    printed = capsys.readouterr().out
    assert "step 1" in printed
    assert "step 3" in printed
    assert "step 2" not in printed


@pytest.mark.parametrize(("every", "show", "files"), [(0, True, []), (1, False, ["samples.csv"])])
def test_samples_can_be_left_out_or_kept_silent(tmp_path, capsys, every, show, files):
    trainer(tmp_path, 1, SampleTable(every_n_steps=every, show=show)).fit(grpo(), data())
    assert [path.name for path in tmp_path.iterdir()] == files
    assert "step 1" not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["test", "predict"])
def test_predictions_are_written_whole(tmp_path, capsys, command):
    collector = PredictionsFile()
    run = trainer(tmp_path, 1, collector)
    loaders = data(test={"held_in": pairs(3, split="test"), "held_out": pairs(2, split="test")}, eval_batch_size=2)
    options: dict[str, Any] = {"verbose": False} if command == "test" else {}
    getattr(run, command)(grpo(), loaders, **options)
    rows = read_predictions(tmp_path / "predictions.parquet")
    assert rows == collector.predictions
    assert [row.source for row in rows] == ["held_in"] * 3 + ["held_out"] * 2
    shown = capsys.readouterr().out
    assert ("accuracy" in shown and "held_out" in shown) == (command == "test")


def test_predictions_can_be_gathered_alone(tmp_path, capsys):
    collector = PredictionsFile()
    collector.only_gather = True
    trainer(tmp_path, 1, collector).test(grpo(), data(test={"held_in": pairs(2, split="test")}), verbose=False)
    assert len(collector.predictions) == 2
    assert not (tmp_path / "predictions.parquet").exists()
    assert "accuracy" not in capsys.readouterr().out


def test_an_exported_model_loads_with_the_trained_weights(tmp_path):
    module = grpo()
    trainer(tmp_path, 1, ExportModel(folder="model", dtype="float32")).fit(module, data())
    folder = tmp_path / "model"
    backbone, reader = load_backbone(str(folder), PolicySpec(str(folder)))
    trained = dict(module.policy.named_parameters())
    for name, value in backbone.named_parameters():
        assert torch.equal(value, trained[name]), name
    assert reader.tokenizer.get_vocab() == module.reader.tokenizer.get_vocab()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_exported_model_says_how_it_is_asked_where_the_run_does(tmp_path):
    with pytest.warns(UserWarning, match=r"no config\.yaml of this run .* saved without judge\.json: load it with the"):
        trainer(tmp_path / "script", 1, ExportModel(folder="model")).fit(grpo(), data())
    assert not (tmp_path / "script" / "model" / "judge.json").exists()
    (tmp_path / "run").mkdir()
    policy = {"base": "shapes-instruct"}
    task = {"class_path": "lit_listener.tasks.PairwisePreference", "init_args": {"template": TEMPLATE}}
    options = {"policy": policy, "task": task, "sampling": {"max_new_tokens": 5}}
    config = {"model": {"init_args": options}, "data": {"train": {}}}
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    trainer(tmp_path / "run", 1, ExportModel(folder="model")).fit(grpo(), data())
    card = json.loads((tmp_path / "run" / "model" / "judge.json").read_text())
    assert (card["max_new_tokens"], card["listener"]) == (5, "shapes-instruct")
    assert card["task"]["init_args"]["template"] == TEMPLATE


def test_a_model_is_exported_in_half_precision_unless_told_otherwise(tmp_path):
    trainer(tmp_path, 1, ExportModel(folder="model")).fit(grpo(), data())
    assert AutoConfig.from_pretrained(tmp_path / "model").dtype == torch.float16


def test_nothing_is_exported_unless_a_folder_is_named_or_where_training_breaks_off(tmp_path):
    class Fail(Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            raise OSError("disk full")

    trainer(tmp_path / "unnamed", 1, ExportModel()).fit(grpo(), data())
    with pytest.raises(OSError, match="disk full"):
        trainer(tmp_path / "broken", 2, ExportModel(folder="model"), Fail()).fit(grpo(), data())
    assert not list(tmp_path.rglob("config.json"))


def test_what_could_not_be_exported_is_refused_before_training(tmp_path):
    module = grpo(policy=PolicySpec("shapes-instruct", lora=LoraSpec(4, 8.0), quantization="nf4"))
    with pytest.raises(ValueError, match=r"--export.folder: adapters are not merged into 4-bit weights; leave it out"):
        trainer(tmp_path, 1, ExportModel("model")).fit(module, data())
