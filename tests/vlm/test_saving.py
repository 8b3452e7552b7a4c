"""Folders that are written whole or not at all, adapters added in float32, and quantised weights left alone."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from lit_listener.vlm.loading import load
from lit_listener.vlm.saving import save_model, whole_folder, write_adapter, write_model
from lit_listener.vlm.specs import LoraSpec, PolicySpec

LORA = LoraSpec(rank=3, alpha=6.0)
LAYER = "model.language_model.layers.1.mlp.up_proj"


def adapted(folder, **options):
    """A model whose adapters are no longer where they began, at zero."""
    models = load(PolicySpec(str(folder), lora=LORA, **options))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in models.policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return models


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "deep" / "model"

    def write(text, error=None):
        with whole_folder(folder) as beside:
            (beside / "sub").mkdir()
            (beside / "sub" / text).write_text(text)
            assert beside.parent == folder.parent
            if error:
                raise error

    with pytest.raises(OSError, match="disk full"):
        write("never", OSError("disk full"))
    assert list(folder.parent.iterdir()) == []
    write("first")
    with pytest.raises(KeyboardInterrupt):
        write("never", KeyboardInterrupt())
    assert [path.name for path in folder.rglob("*")] == ["sub", "first"]
    write("second")
    assert [path.name for path in folder.rglob("*")] == ["sub", "second"]
    assert list(folder.parent.iterdir()) == [folder]


def test_what_was_there_comes_back_where_its_replacement_cannot_be_moved(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").write_text("old")
    rename = Path.rename

    def fail(path, target):
        if path.suffix == ".part":
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="no"), whole_folder(folder) as beside:
        (beside / "new").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_adapters_are_added_in_float32_and_rounded_once(tiny_folder, tmp_path, dtype):
    models = adapted(tiny_folder, dtype="float16")
    weights = dict(models.policy.model.named_parameters())
    a_RD, b_DR = (weights[f"{LAYER}.lora_{which}.default.weight"].detach() for which in "AB")
    assert a_RD.dtype == torch.float32
    expected = weights[f"{LAYER}.base_layer.weight"].detach().float() + LORA.alpha / LORA.rank * b_DR @ a_RD
    write_model(models.policy.model, models.reader, tmp_path, dtype)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path)
    saved = dict(model.named_parameters())
    assert not any("lora" in name or "base_layer" in name for name in load_file(tmp_path / "model.safetensors"))
    assert {weight.dtype for weight in saved.values()} == {getattr(torch, dtype)}
    torch.testing.assert_close(saved[f"{LAYER}.weight"], expected.to(getattr(torch, dtype)), atol=1e-7, rtol=0)


def test_an_adapter_is_saved_in_float32_and_names_its_base(tiny_folder, tmp_path):
    models = adapted(tiny_folder)
    models.adapter.to(torch.bfloat16)
    write_adapter(models.adapter, models.reader, tmp_path, "owner/base")
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert len(saved) == 2 * 7 * 2  # two layers of seven linear maps, each with two matrices
    assert {weight.dtype for weight in saved.values()} == {torch.float32}
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == "owner/base"
    assert (tmp_path / "chat_template.jinja").is_file()
    assert (tmp_path / "preprocessor_config.json").is_file()


def test_only_the_policys_adapter_is_saved(tiny_folder, tmp_path):
    models = adapted(tiny_folder)
    write_adapter(models.adapter, models.reader, tmp_path / "start", str(tiny_folder))
    spec = PolicySpec(str(tiny_folder), start=str(tmp_path / "start"), lora=LORA)
    again = load(spec, "start")  # keeps a frozen copy of the adapter beside the policy's
    write_adapter(again.adapter, again.reader, tmp_path / "end", str(tiny_folder))
    names = [{path.name for path in (tmp_path / folder).iterdir()} for folder in ("start", "end")]
    assert names[0] == names[1]
    start, end = (load_file(tmp_path / folder / "adapter_model.safetensors") for folder in ("start", "end"))
    assert start.keys() == end.keys()
    assert all(torch.equal(start[name], end[name]) for name in start)


def test_nothing_is_merged_into_4_bit_weights(tmp_path):
    models = adapted("shapes-instruct", quantization="nf4")
    message = "adapters are not merged into quantised weights.*export --merge loads the base unquantised"
    with pytest.raises(ValueError, match=message):
        save_model(models.policy, models.reader, tmp_path / "model")
    with pytest.raises(ValueError, match=message):
        write_model(models.policy.model, models.reader, tmp_path / "model", "float32")
    assert list(tmp_path.iterdir()) == []
