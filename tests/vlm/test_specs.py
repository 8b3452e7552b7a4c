"""What a run may ask for."""

import pytest

from lit_listener.vlm.specs import BUNDLED, LoraSpec, PolicySpec, on_this_machine, resolve


def test_names_are_resolved(tmp_path):
    assert resolve(str(tmp_path)) == str(tmp_path)
    assert resolve("Qwen/Qwen2.5-VL-3B-Instruct") == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert {name: resolve(name) for name in BUNDLED} == {name: str(folder) for name, folder in BUNDLED.items()}


@pytest.mark.parametrize("name", ["/nowhere/model", "./nowhere", "runs/a/model", "shapes-instrukt", "~/nowhere"])
def test_a_folder_that_is_not_there_is_refused(name):
    with pytest.raises(FileNotFoundError, match=rf"no model folder at '{name}': expected .*'shapes-instruct'"):
        resolve(name)


def test_a_mistyped_run_is_no_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve("runs/frist") == "runs/frist"  # there are no runs: it may well be OWNER/NAME
    (tmp_path / "runs" / "first").mkdir(parents=True)
    (tmp_path / "runs" / "first" / "config.yaml").write_text("seed_everything: 0")
    (tmp_path / "runs" / "pictures").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no model folder at 'runs/frist'.*; runs holds first$"):
        resolve("runs/frist")
    assert on_this_machine("runs/frist")
    assert resolve("runs/first") == "runs/first"
    assert resolve("Qwen/Qwen2.5-VL-3B-Instruct") == "Qwen/Qwen2.5-VL-3B-Instruct"


def test_a_rank_below_one_is_refused():
    with pytest.raises(ValueError, match=r"policy\.lora\.rank: expected at least 1, got 0"):
        LoraSpec(rank=0)


def test_nothing_is_quantised_or_adapted_unasked():
    spec = PolicySpec("shapes-instruct")
    assert (spec.quantization, spec.lora, spec.train_vision, spec.dtype) == (None, None, False, "float32")
