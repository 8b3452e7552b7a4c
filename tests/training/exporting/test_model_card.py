"""What an exported model's README says, and what it keeps to itself."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from lit_listener.training.exporting.model_card import Measured, Row, model_card, read_measured

METRICS = """epoch,reward/total,step,val/accuracy,time/step_s
0,0.25,0,,1.5
0,,1,0.5,
0,0.5,1,,nan
1,0.75,2,,1.0
1,,2,0.625,
1,0.8,3"""  # the last line was torn off


def config(base: str = "owner/model", kind: str = "ListenerGRPO", **policy: Any) -> dict[str, Any]:
    return {
        "model": {"class_path": f"lit_listener.training.{kind}", "init_args": {"policy": {"base": base, **policy}}},
        "data": {
            "train": {"class_path": "lit_listener.data.PairTable", "init_args": {"path": "/home/me/pairs.parquet"}},
            "validation": {"held_in": {"class_path": "lit_listener.data.Other"}},
            "traces": None,
        },
        "run_dir": "/home/me/runs/first",
        "words": "/ is no path\nof lines",
        "folders": ["~/data/images", "relative/kept"],
    }


def card(measured: Measured | None = None, *, is_adapter: bool = True, **options: Any) -> ModelCard:
    text = model_card(
        config(**options),
        measured or Measured(None, None),
        kind="a LoRA adapter, float32",
        is_adapter=is_adapter,
        name="me/judge",
        steps=12,
    )
    return ModelCard(text)


def section(of: ModelCard, title: str) -> str:
    return of.text.split(f"## {title}\n")[1].split("\n## ")[0].strip()


def test_the_front_matter_is_what_the_hub_reads():
    adapter, full = card().data, card(is_adapter=False, kind="TraceSFT").data
    assert (adapter.base_model, adapter.library_name) == ("owner/model", "peft")
    assert adapter.pipeline_tag == full.pipeline_tag == "image-text-to-text"
    assert adapter.tags == ["lit-listener", "grpo", "preference", "vision-language", "lora"]
    assert (full.library_name, full.tags) == ("transformers", ["lit-listener", "sft", "preference", "vision-language"])


def test_a_base_is_told_without_the_machines_paths(tmp_path):
    (tmp_path / "secret" / "mine").mkdir(parents=True)
    bundled, folder = card(base="shapes-instruct"), card(base=str(tmp_path / "secret" / "mine"), start="owner/start")
    assert bundled.data.base_model == "shapes-instruct"
    assert "- trained from: the bundled model shapes-instruct\n" in bundled.text
    assert folder.data.base_model is None  # the hub would look for it
    assert "- trained from: a model folder, mine (starting at owner/start)\n" in folder.text
    assert "secret" not in folder.content
    assert "/home/me" not in folder.content


def test_the_config_is_there_whole_but_for_absolute_paths():
    given = config()
    told = yaml.safe_load(section(card(), "Config").split("```yaml")[1].split("```")[0])
    assert told["run_dir"] == "first"
    assert told["folders"] == ["images", "relative/kept"]
    assert told["words"] == given["words"]
    assert told["model"] == given["model"]
    assert given["run_dir"] == "/home/me/runs/first"  # the config itself is left as it is
    data = yaml.safe_load(section(card(), "Training data").split("```yaml")[1].split("```")[0])
    assert data == {"train": {"class_path": "lit_listener.data.PairTable", "init_args": {"path": "pairs.parquet"}}}


@pytest.mark.parametrize("is_adapter", [True, False])
def test_the_example_is_python(is_adapter):
    how = section(card(is_adapter=is_adapter), "How to load it")
    code = how.split("```python")[1].split("```")[0]
    compile(code, "card", "exec")
    assert (
        'PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base, dtype="auto"), "me/j' in code
    ) == (is_adapter)
    assert ("with the same `policy.lora`" in how) == is_adapter
    as_judge = how.split("```python")[2].split("```")[0]
    compile(as_judge, "card", "exec")
    assert 'judge = Judge.load("me/judge")' in as_judge


def test_what_was_measured_last_up_to_the_checkpoint(tmp_path):
    (tmp_path / "metrics.csv").write_text(METRICS)
    training = {n: read_measured(tmp_path / "metrics.csv", n).training for n in (1, 2, 3, None)}
    assert training[1] == Row(0, {"reward/total": 0.25, "time/step_s": 1.5})
    assert training[2] == Row(1, {"reward/total": 0.5})  # nan is what could not be measured
    assert training[3] == Row(2, {"reward/total": 0.75, "time/step_s": 1.0})
    assert training[None] == Row(3, {"reward/total": 0.8})
    validation = {n: read_measured(tmp_path / "metrics.csv", n).validation for n in (1, 2, 3)}
    assert validation == {1: None, 2: Row(1, {"val/accuracy": 0.5}), 3: Row(2, {"val/accuracy": 0.625})}
    assert read_measured(Path("nowhere.csv"), None) == Measured(None, None)
    (tmp_path / "metrics.csv").write_text("epoch,reward/total,step\n0,0.2\n0,0.3,two\n")
    assert read_measured(tmp_path / "metrics.csv", None) == Measured(None, None)


def test_measures_are_told_with_their_step():
    measured = Measured(Row(9, {"reward/total": 0.123456}), Row(7, {"val/p": 1 / 3, "val/accuracy": 0.5}))
    assert section(card(measured), "Metrics") == (
        "Validation, last measured at step 7 (batches, from 0):\n\n"
        "| metric | value |\n|---|---|\n| val/accuracy | 0.5 |\n| val/p | 0.3333 |\n\n"
        "Training, last measured at step 9 (batches, from 0):\n\n"
        "| metric | value |\n|---|---|\n| reward/total | 0.1235 |"
    )
    assert section(card(), "Metrics") == "The run left no metrics up to this checkpoint."
    told = section(card(Measured(measured.training, None)), "Metrics")
    assert told.startswith("The run had not been validated up to this checkpoint.\n\nTraining, last measured at step 9")
