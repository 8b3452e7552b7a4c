"""A base in 4 bits: which layers are, that they compute what their weights say, and that adapters train on them."""

import json
import shutil

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from torch import nn

from lit_listener.vlm.four_bits import in_four_bits
from lit_listener.vlm.loading import LoraSpec, PolicySpec, load, load_backbone
from lit_listener.vlm.packing import pack
from lit_listener.vlm.rollout import Sampling
from tests.vlm.tiny import (
    FAMILIES,
    FOUR_BIT_WIDTHS,
    TASK,
    log_probs,
    mixed,
    reference_log_probs,
    rollout,
    train,
    write_tiny,
)

LORA = LoraSpec(rank=3, alpha=6.0)


def spec(base, start=None, **options):
    options = {"lora": LORA, "quantization": "nf4", **options}
    return PolicySpec(str(base), start=None if start is None else str(start), **options)


def frozen_bytes(models):
    """Everything that is saved of the model (quantised data and their scales too) but the adapters."""
    return {n: w.cpu().clone() for n, w in models.policy.state_dict().items() if ".default." not in n}


def four_bit(backbone):
    return {name: module for name, module in backbone.named_modules() if isinstance(module, Linear4bit)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {
        family: write_tiny(tmp_path_factory.mktemp(family) / "model", family=family, **FOUR_BIT_WIDTHS)
        for family in FAMILIES
    }


@pytest.fixture(scope="module")
def folder(folders):
    return folders["qwen2_5_vl"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_language_models_linear_layers_are_in_four_bits(folders, family, dtype):
    backbone, _ = load_backbone(str(folders[family]), spec(folders[family], dtype=dtype))
    plain, _ = load_backbone(str(folders[family]), PolicySpec(str(folders[family])))
    linears = {name for name, module in plain.named_modules() if isinstance(module, nn.Linear)}
    quantized = four_bit(backbone)
    assert set(quantized) == {name for name in linears if ".language_model." in name}
    for module in quantized.values():
        assert (module.weight.quant_type, module.weight.quant_state.nested) == ("nf4", True)
        assert module.weight.dtype == torch.uint8
        assert module.compute_dtype == getattr(torch, dtype)
    assert backbone.model.lm_head.weight.dtype == backbone.vision_tower.dtype == getattr(torch, dtype)
    assert str(backbone.device) == "cpu"


@pytest.mark.parametrize("attention", ["sdpa", "flex"])
@pytest.mark.parametrize("family", FAMILIES)
def test_four_bits_compute_what_their_weights_say(folders, family, attention):
    models = load(spec(folders[family], attention=attention))
    plain, reader = load_backbone(str(folders[family]), PolicySpec(str(folders[family])))
    with torch.no_grad():
        rounded = {}
        for name, module in four_bit(models.policy).items():
            kept = dequantize_4bit(module.weight.data, module.weight.quant_state)
            weight = plain.get_submodule(name.removesuffix(".base_layer")).weight
            largest = weight.flatten().view(-1, 64).abs().amax(1)
            error = (kept - weight).flatten().view(-1, 64).abs().amax(1) / largest
            # NF4's widest gap is from -1 to -0.696: half of it is lost at most, and a little more in the scales
            assert 0.1 < error.max() < 0.17
            rounded[name.removesuffix(".base_layer")] = kept
        unrounded = log_probs(plain, reader)
        for name, weight in rounded.items():
            plain.get_submodule(name).weight.copy_(weight)
        expected = log_probs(plain, reader)
        assert (unrounded - expected).abs().max() > 0.1
        torch.testing.assert_close(log_probs(models.policy, models.reader), expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(reference_log_probs(models), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("vision", [False, True])
def test_only_adapters_train_on_one_copy_of_the_base(folder, vision):
    models = load(spec(folder, train_vision=vision, dtype="bfloat16"))
    assert models.reference.copy is None
    assert models.shares_vision is not vision
    trainable = {name: p for name, p in models.policy.named_parameters() if p.requires_grad}
    assert all("lora_" in name for name in trainable)
    assert any(".visual." in name for name in trainable) is vision
    assert {p.dtype for p in trainable.values()} == {torch.float32}
    assert models.policy.vision_tower.patch_embed.proj.weight.dtype == torch.bfloat16
    assert models.policy.model.lm_head.weight.dtype == torch.float32


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_every_adapter_and_nothing_else(folder, dtype, checkpointing):
    models = load(spec(folder, dtype=dtype, train_vision=True, gradient_checkpointing=checkpointing))
    train(models)
    # as a training step does: sample and ask the reference in eval mode, then update in training mode
    prompts = models.reader.encoder.encode([TASK.encode(pair) for pair in mixed(1)])
    with torch.no_grad():
        features = models.policy.image_features(prompts)
        sampled = rollout(models.policy, prompts, features, group_size=2, sampling=Sampling(4), keys=[(0,)])
        models.policy.score(pack(prompts, sampled), features)
    reference_log_probs(models)
    before = frozen_bytes(models)
    models.policy.train()
    scores = log_probs(models.policy, models.reader)
    assert scores.dtype == torch.float32
    scores.sum().backward()
    for name, parameter in models.policy.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        if parameter.requires_grad:
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name
    after = frozen_bytes(models)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert sum(name.endswith(("weight.absmax", "weight.nested_absmax")) for name in before) == 2 * 14


def test_a_pass_in_eval_mode_changes_no_gradient(folder):
    """On some CPUs bitsandbytes repacks weights in eval mode; packed ones would let no gradient through."""
    gradients = []
    for looked in (False, True):
        models = load(spec(folder))
        train(models)
        if looked:
            with torch.no_grad():
                log_probs(models.policy.eval(), models.reader)
        models.policy.train()
        log_probs(models.policy, models.reader).sum().backward()
        gradients.append({n: p.grad for n, p in models.policy.named_parameters() if p.requires_grad})
        assert not any(
            getattr(module.weight.quant_state, "packing_format_for_cpu", False)
            for module in four_bit(models.policy).values()
        )
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("reference", ["base", "start"])
def test_the_reference_on_four_bits_is_what_was_asked_for(folder, tmp_path, reference):
    first = load(spec(folder))
    with torch.no_grad():
        expected = {"base": log_probs(first.policy, first.reader)}
        train(first)
        first.adapter.save_pretrained(tmp_path)
        expected["start"] = log_probs(first.policy, first.reader)
        models = load(spec(folder, tmp_path), reference)
        torch.testing.assert_close(log_probs(models.policy, models.reader), expected["start"], atol=1e-6, rtol=0)
        train(models, seed=1)
        moved = log_probs(models.policy, models.reader)
        assert (moved - expected["start"]).abs().max() > 0.1
        assert (moved - expected["base"]).abs().max() > 0.1
        torch.testing.assert_close(reference_log_probs(models), expected[reference], atol=1e-6, rtol=0)
        assert torch.equal(log_probs(models.policy, models.reader), moved)  # and the policy comes back


def test_four_bits_survive_a_move(folder):
    models = load(spec(folder))
    with torch.no_grad():
        before = log_probs(models.policy, models.reader)
        nn.ModuleList([models.policy]).to("cpu")  # as a trainer moves its module
        assert torch.equal(log_probs(models.policy, models.reader), before)


def test_the_process_loads_onto_its_own_gpu(monkeypatch):
    assert in_four_bits(spec("shapes-instruct"))["device_map"] == {"": "cpu"}
    assert in_four_bits(spec("shapes-instruct", quantization=None)) == {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for current, local_rank, expected in ((0, None, 0), (3, None, 3), (0, "2", 2), (3, "1", 3)):
        monkeypatch.setattr(torch.cuda, "current_device", lambda current=current: current)
        monkeypatch.delenv("LOCAL_RANK", raising=False)
        if local_rank is not None:
            monkeypatch.setenv("LOCAL_RANK", local_rank)
        assert in_four_bits(spec("shapes-instruct"))["device_map"] == {"": f"cuda:{expected}"}


def test_rows_that_are_not_whole_blocks_are_refused(tiny_folder):
    message = (
        r"policy\.quantization: 4-bit weights come in rows of whole blocks of 64, but model\.language_model\.layers\.0"
        r"\.self_attn\.q_proj has rows of 32; drop quantization, or name another base"
    )
    with pytest.raises(ValueError, match=message):
        load(spec(tiny_folder))


def test_four_bits_without_adapters_are_refused(folder):
    with pytest.raises(ValueError, match=r"policy\.quantization: nf4: 4-bit weights cannot train; set policy\.lora"):
        load(spec(folder, lora=None))
    with pytest.raises(ValueError, match=r"policy\.quantization: shapes-blank has no weights on disk to quantise"):
        load(spec("shapes-blank"))


@pytest.mark.parametrize("quantization", [None, "nf4"])
def test_weights_that_are_quantised_already_are_refused(tiny_folder, tmp_path, quantization):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"model: its weights are quantised already; expected 16- or 32-bit weights"):
        load(spec(folder, quantization=quantization))
