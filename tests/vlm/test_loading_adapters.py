"""Adapters: one copy of the base is the policy with them and the reference without them."""

import contextlib
import json
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from lit_listener.vlm.loading import LoraSpec, PolicySpec, load, load_backbone
from lit_listener.vlm.packing import pack
from lit_listener.vlm.rollout import Sampling
from lit_listener.vlm.saving import save_model
from tests.vlm.tiny import FAMILIES, TASK, log_probs, mixed, reference_log_probs, rollout, train, write_tiny

LORA = LoraSpec(rank=3, alpha=6.0)


def spec(base, start=None, lora=LORA, **options):
    return PolicySpec(str(base), start=None if start is None else str(start), lora=lora, **options)


def trainable(models):
    return {name for name, parameter in models.policy.named_parameters() if parameter.requires_grad}


@pytest.fixture(scope="module")
def trained(tiny_folder, tmp_path_factory):
    """A folder with a trained adapter that claims a dropout, and the log-probs of its model."""
    models = load(spec(tiny_folder))
    train(models)
    folder = tmp_path_factory.mktemp("adapter")
    models.adapter.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "lora_dropout": 0.5}))
    with torch.no_grad():
        return folder, log_probs(models.policy, models.reader)


@pytest.fixture(scope="module")
def base_log_probs(tiny_folder):
    backbone, reader = load_backbone(str(tiny_folder), PolicySpec(str(tiny_folder)))
    with torch.no_grad():
        return log_probs(backbone, reader)


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("reference", ["base", "start"])
def test_only_the_language_models_adapter_trains(tiny_folder, trained, started, reference):
    models = load(spec(tiny_folder, trained[0] if started else None), reference)
    names = trainable(models)
    # two layers of seven linear maps, each with two matrices
    assert len(names) == 2 * 7 * 2
    assert all("lora_" in name and "language_model" in name and ".default." in name for name in names)
    log_probs(models.policy, models.reader).sum().backward()
    for name, parameter in models.policy.named_parameters():
        assert (parameter.grad is not None) == (name in names)
    assert models.shares_vision


def test_a_fresh_adapter_starts_at_the_base_by_seed(tiny_folder, base_log_probs):
    before = torch.get_rng_state()
    models, again, other = (load(spec(tiny_folder, init_seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(log_probs(models.policy, models.reader), base_log_probs, atol=1e-6, rtol=0)
    weights = [
        torch.cat([p.flatten() for n, p in m.policy.named_parameters() if "lora_A" in n])
        for m in (models, again, other)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("started", [False, True])
def test_the_base_is_the_model_without_adapters(tiny_folder, trained, base_log_probs, started):
    models = load(spec(tiny_folder, trained[0] if started else None), "base")
    train(models, seed=1)
    assert (log_probs(models.policy, models.reader) - base_log_probs).abs().max() > 0.1
    torch.testing.assert_close(reference_log_probs(models), base_log_probs, atol=1e-6, rtol=0)


def test_the_start_is_the_starting_adapter_whatever_the_policy_learns(tiny_folder, trained):
    folder, expected = trained
    models = load(spec(tiny_folder, folder), "start")
    with torch.no_grad():
        torch.testing.assert_close(log_probs(models.policy, models.reader), expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(reference_log_probs(models), expected, atol=1e-6, rtol=0)
        train(models, seed=1)
        assert (log_probs(models.policy, models.reader) - expected).abs().max() > 0.1
        torch.testing.assert_close(reference_log_probs(models), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("reference", ["base", "start"])
def test_a_reference_pass_restores_the_policy_exactly(tiny_folder, trained, reference, fails):
    models = load(spec(tiny_folder, trained[0]), reference)
    train(models, seed=1)
    models.policy.train()
    next(p for p in models.policy.parameters() if p.requires_grad).requires_grad_(False)  # somebody's own choice
    names, weights = trainable(models), {name: p.clone() for name, p in models.policy.named_parameters()}
    with torch.no_grad():
        before = log_probs(models.policy, models.reader)
    with contextlib.suppress(RuntimeError), models.reference.active() as backbone:
        assert not backbone.training
        assert not log_probs(backbone, models.reader).requires_grad
        if fails:
            raise RuntimeError("the listener fell silent")
    assert trainable(models) == names
    assert all(module.training for module in models.policy.modules())
    assert all(torch.equal(p, weights[name]) for name, p in models.policy.named_parameters())
    after = log_probs(models.policy, models.reader)
    assert torch.equal(after, before)
    after.sum().backward()
    assert {name for name, p in models.policy.named_parameters() if p.grad is not None} == names


@pytest.mark.parametrize("reference", ["base", "start"])
def test_nothing_drops_out(tiny_folder, trained, tmp_path, reference):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["attention_dropout"] = 0.5
    (folder / "config.json").write_text(json.dumps(config))
    models = load(spec(folder, trained[0]), reference)
    dropouts = [module.p for module in models.policy.modules() if isinstance(module, nn.Dropout)]
    assert dropouts
    assert set(dropouts) == {0.0}
    evaluated = log_probs(models.policy, models.reader)
    torch.testing.assert_close(evaluated, trained[1], atol=1e-6, rtol=0)
    models.policy.train()
    assert torch.equal(log_probs(models.policy, models.reader), evaluated)


def test_checkpointing_works_with_adapters(tiny_folder, trained):
    models = load(spec(tiny_folder, trained[0], gradient_checkpointing=True))
    plain = load(spec(tiny_folder, trained[0]))
    gradients = []
    for each in (models, plain):
        each.policy.train()
        log_probs(each.policy, each.reader).sum().backward()
        gradients.append({n: p.grad for n, p in each.policy.named_parameters() if p.requires_grad})
    for name, gradient in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], gradient, atol=1e-5, rtol=1e-5, msg=name)
    prompts = models.reader.encoder.encode([TASK.encode(pair) for pair in mixed(1)])
    models.policy.eval()
    with torch.inference_mode():  # as Lightning validates
        features = models.policy.image_features(prompts)
        rollout(models.policy, prompts, features, group_size=2, sampling=Sampling(4), keys=[(0,)])


def test_a_saved_model_has_its_adapters_merged(tiny_folder, trained, tmp_path):
    models = load(spec(tiny_folder, trained[0]), "start")
    train(models, seed=1)
    with torch.no_grad():
        expected = log_probs(models.policy, models.reader)
    save_model(models.policy, models.reader, tmp_path / "merged", "float32")
    backbone, reader = load_backbone(str(tmp_path / "merged"), PolicySpec("merged"))
    assert not any("lora" in name for name, _ in backbone.named_parameters())
    with torch.no_grad():
        torch.testing.assert_close(log_probs(backbone, reader), expected, atol=1e-5, rtol=0)
        assert torch.equal(log_probs(models.policy, models.reader), expected)  # the policy keeps its adapters


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        (LoraSpec(4, 6.0), r"policy\.lora\.rank: the adapter at .* has rank 3, got 4"),
        (LoraSpec(3, 8.0), r"policy\.lora\.alpha: the adapter at .* has alpha 6\.0, got 8\.0"),
    ],
)
def test_an_adapter_of_another_scale_is_refused(tiny_folder, trained, lora, message):
    with pytest.raises(ValueError, match=message):
        load(spec(tiny_folder, trained[0], lora))


@pytest.mark.parametrize("targets", [r".*patch_embed\.proj", "lm_head"])
def test_an_adapter_beyond_the_two_towers_layers_is_refused(tiny_folder, tmp_path, targets):
    backbone, _ = load_backbone(str(tiny_folder), PolicySpec(str(tiny_folder)))
    config = LoraConfig(r=3, lora_alpha=6, target_modules=targets, modules_to_save=["norm"])
    get_peft_model(backbone.model, config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds more than low-rank updates of the language model and the vision tower"):
        load(spec(tiny_folder, tmp_path))


def test_adapters_on_the_vision_tower_must_be_asked_for(tiny_folder, trained, tmp_path):
    load(spec(tiny_folder, train_vision=True)).adapter.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"policy\.train_vision: .* updates the vision tower too, .* set it to true"):
        load(spec(tiny_folder, tmp_path))
    with pytest.raises(ValueError, match=r"policy\.train_vision: .* no updates of the vision tower .* set it to false"):
        load(spec(tiny_folder, trained[0], train_vision=True))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {family: write_tiny(tmp_path_factory.mktemp(family) / "model", family=family) for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("vision", [False, True])
def test_adapters_sit_on_every_linear_layer_asked_for(folders, family, vision):
    models = load(spec(folders[family], train_vision=vision))
    plain, _ = load_backbone(str(folders[family]), PolicySpec(str(folders[family])))
    towers = (".language_model.", ".visual.") if vision else (".language_model.",)
    expected = {
        f"{name}.lora_{side}.default.weight"
        for name, module in plain.named_modules()
        if isinstance(module, nn.Linear) and any(tower in name for tower in towers)
        for side in "AB"
    }
    assert trainable(models) == expected
    assert models.shares_vision is not vision
    train(models)
    log_probs(models.policy, models.reader).sum().backward()
    assert {name for name, p in models.policy.named_parameters() if p.grad is not None and p.grad.any()} == expected


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("reference", ["base", "start"])
def test_the_references_images_are_seen_without_what_the_policy_learns(folders, tmp_path, family, reference):
    first = load(spec(folders[family], train_vision=True))
    train(first)
    first.adapter.save_pretrained(tmp_path)
    prompts = first.reader.encoder.encode([TASK.encode(pair) for pair in mixed(2)])
    plain, reader = load_backbone(str(folders[family]), PolicySpec(str(folders[family])))
    with torch.no_grad():
        judges = {"base": plain, "start": first.policy}
        seen, expected = judges[reference].image_features(prompts), log_probs(judges[reference], reader)
        models = load(spec(folders[family], tmp_path, train_vision=True), reference)
        train(models, seed=1)
        assert (models.policy.image_features(prompts) - seen).abs().max() > 0.1
        with models.reference.active() as backbone:
            torch.testing.assert_close(backbone.image_features(prompts), seen, atol=1e-5, rtol=0)
        torch.testing.assert_close(reference_log_probs(models), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_adapters_are_float32_on_a_base_of_half_precision(tiny_folder, trained, dtype, checkpointing):
    models = load(spec(tiny_folder, trained[0], dtype=dtype, gradient_checkpointing=checkpointing))
    kinds = {parameter.requires_grad: parameter.dtype for parameter in models.policy.parameters()}
    assert kinds == {True: torch.float32, False: getattr(torch, dtype)}
    models.policy.train()
    scores = log_probs(models.policy, models.reader)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, trained[1], atol=0.5, rtol=0)  # large random weights, rounded to 8 or 11 bits
    scores.sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in models.policy.parameters() if p.requires_grad)
    prompts = models.reader.encoder.encode([TASK.encode(pair) for pair in mixed(1)])
    models.policy.eval()
    features = models.policy.image_features(prompts).detach()
    sampled = rollout(models.policy, prompts, features, group_size=2, sampling=Sampling(4), keys=[(0,)])
    with torch.no_grad():
        again = models.policy.score(pack(prompts, sampled), features)
    assert again.log_probs_NT.dtype == again.entropy_NT.dtype == torch.float32


def test_contradictory_specifications_are_refused(tiny_folder, trained):
    with pytest.raises(FileNotFoundError, match=r"policy\.start: no adapter_config\.json in .*name it as policy\.base"):
        load(spec(tiny_folder, tiny_folder))
    with pytest.raises(ValueError, match=r"policy\.start: .* is an adapter folder; set policy\.lora to train it on"):
        load(spec(tiny_folder, trained[0], lora=None))
