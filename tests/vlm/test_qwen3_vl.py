"""Qwen3-VL: image features of several layers travel as one tensor, and each reaches the decoder layer it belongs to.

That packed passes equal the plain ones is tested for all families with the backbone.
"""

import json

import pytest
import torch

from lit_listener.vlm.group_cache import GroupCache
from lit_listener.vlm.loading import load, load_backbone
from lit_listener.vlm.packing import pack
from lit_listener.vlm.rollout import Sampling
from lit_listener.vlm.specs import PolicySpec
from tests.vlm.tiny import (
    TASK,
    completions,
    mixed,
    plain_inputs,
    plain_log_probs,
    real_rows,
    rollout,
    score,
    write_tiny,
)

WIDTH, LEVELS = 32, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(write_tiny(tmp_path_factory.mktemp("qwen3") / "model", family="qwen3_vl"))


@pytest.fixture(scope="module")
def qwen3(folder):
    return load_backbone(folder, PolicySpec(folder))


def encode(reader, pairs):
    return reader.encoder.encode([TASK.encode(pair) for pair in pairs])


@torch.no_grad()
def test_the_layers_features_stand_side_by_side(qwen3):
    backbone, reader = qwen3
    prompts = encode(reader, mixed(2))
    features = backbone.image_features(prompts)
    assert features.shape == (int(prompts.image_grid_I3.prod(1).sum()) // 4, WIDTH * LEVELS)
    vision = backbone.vision_tower(prompts.pixel_values_RC, grid_thw=prompts.image_grid_I3)
    expected = torch.cat([vision.pooler_output, *vision.deepstack_features], 1)
    torch.testing.assert_close(features, expected, atol=0, rtol=0)
    # one row an image token: what is cut by rows is the features of fewer prompts
    rows = int(prompts.image_grid_I3[: int(prompts.images_P[0])].prod(1).sum()) // 4
    alone = backbone.image_features(prompts.select(slice(0, 1)))
    torch.testing.assert_close(alone, features[:rows], atol=1e-5, rtol=0)


@pytest.mark.parametrize("lost", [1, 2])
@torch.no_grad()
def test_every_layers_features_count_in_scoring_and_prefill(qwen3, lost):
    backbone, reader = qwen3
    pairs, sampled = mixed(2), completions(backbone, [3, 4, 2, 5])
    prompts = encode(reader, pairs)
    features = backbone.image_features(prompts)
    without = features.clone()
    without[:, WIDTH * lost : WIDTH * (lost + 1)] = 0
    packed = pack(prompts, sampled)
    whole, less = (backbone.score(packed, given).log_probs_NT for given in (features, without))
    first, other = (
        backbone.prefill(prompts, given, GroupCache(prompts.mask_PS, 1, 1)) for given in (features, without)
    )
    for n, row in enumerate(real_rows(sampled)):
        plain = plain_log_probs(backbone, reader, pairs[n // 2], row)
        torch.testing.assert_close(whole[n, : len(row)], plain, atol=1e-5, rtol=0)
        assert (less[n, : len(row)] - plain).abs().max() > 0.05
    assert ((first - other).abs().amax(1) > 0.05).all()


@torch.no_grad()
def test_features_without_the_further_layers_are_refused(qwen3):
    backbone, reader = qwen3
    prompts = encode(reader, mixed(1))
    features = backbone.image_features(prompts)[:, :WIDTH]
    with pytest.raises(ValueError, match="image features must be 96 wide, all layers' side by side, got 32"):
        backbone.prefill(prompts, features, GroupCache(prompts.mask_PS, 1, 1))


def test_positions_are_the_models_own(qwen3):
    backbone, reader = qwen3
    assert backbone.model.config.text_config.rope_parameters["mrope_interleaved"]
    pairs = mixed(3)
    prompts = encode(reader, pairs)
    for n, pair in enumerate(pairs):
        plain = plain_inputs(reader, pair, [])
        positions, _ = backbone.model.model.get_rope_index(
            **{key: value for key, value in plain.items() if key != "pixel_values"}
        )
        assert torch.equal(prompts.position_ids_3PS[:, n, prompts.mask_PS[n]], positions[:, 0])
        assert int(prompts.next_position_P[n]) == int(positions.max()) + 1 < int(prompts.lengths_P[n])


def test_a_released_preprocessor_config_is_read(folder, tmp_path):
    target = write_tiny(tmp_path / "model", family="qwen3_vl")
    released = {
        "size": {"longest_edge": 16777216, "shortest_edge": 65536},
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "Qwen3VLProcessor",
        "image_processor_type": "Qwen2VLImageProcessorFast",
    }
    (target / "preprocessor_config.json").write_text(json.dumps(released))
    _, reader = load_backbone(str(target), PolicySpec(str(target)))
    prompts = encode(reader, mixed(1))
    for grid in prompts.image_grid_I3:
        assert int(grid.prod()) * 16 * 16 >= 65536  # both images are smaller, and enlarged
        assert (grid[1:] % 2 == 0).all()
    assert prompts.pixel_values_RC.shape[1] == 3 * 2 * 16 * 16
    assert prompts.pixel_values_RC.min() >= -1  # mean and deviation 0.5: pixels in [-1, 1]
    assert prompts.pixel_values_RC.max() <= 1


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_every_layer_of_both_towers(folder, checkpointing):
    gradients = []
    for options in ({}, {"gradient_checkpointing": checkpointing}):
        models = load(PolicySpec(folder, train_vision=True, **options))
        models.policy.train()
        scores = score(models.policy, encode(models.reader, mixed(2)), completions(models.policy, [3, 2]))
        scores.log_probs_NT.sum().backward()
        gradients.append({name: parameter.grad for name, parameter in models.policy.named_parameters()})
    further = [name for name in gradients[0] if "deepstack_merger_list" in name]
    assert len(further) == 2 * 6
    assert all(gradients[0][name].abs().max() > 0 for name in further if "norm.bias" not in name)
    for name, gradient in gradients[0].items():
        scale = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5 * scale, rtol=0, msg=name)


def test_a_rollout_samples_what_the_plain_path_gives(qwen3):
    backbone, reader = qwen3
    pairs = mixed(2)
    prompts = encode(reader, pairs)
    with torch.no_grad():
        sampled = rollout(
            backbone,
            prompts,
            backbone.image_features(prompts),
            group_size=2,
            sampling=Sampling(max_new_tokens=5),
            keys=[(0,), (1,)],
            label_ids=((5,), (6,)),
        )
        for n, row in enumerate(real_rows(sampled)):
            logits = backbone.model(**plain_inputs(reader, pairs[n // 2], row)).logits[0, -len(row) - 1 : -1]
            kept = sampled.label_logits_NTL[n, : len(row)]
            torch.testing.assert_close(kept, logits[:, [5, 6]], atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_backbone_without_its_vision_tower_reads_anothers_features(folder, qwen3):
    backbone, reader = qwen3
    blind, _ = load_backbone(folder, PolicySpec(folder))
    blind.drop_vision()
    prompts, sampled = encode(reader, mixed(2)), completions(backbone, [3, 4])
    features, packed = backbone.image_features(prompts), pack(prompts, sampled)
    expected = backbone.score(packed, features).log_probs_NT
    assert torch.equal(blind.score(packed, features).log_probs_NT, expected)
