"""A model's footprint: worked out by hand where that can be, and else against the same passes on real tensors."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.encoding import PromptBatch
from lit_listener.vlm.footprint import (
    FOUR_BIT_BYTES,
    Rows,
    encoding_bytes,
    key_value_bytes,
    packed_rows,
    sampling_bytes,
    scoring_bytes,
    update_bytes,
    weight_bytes,
)
from lit_listener.vlm.live_bytes import LiveBytes
from lit_listener.vlm.loading import Models, load
from lit_listener.vlm.specs import LoraSpec, PolicySpec
from tests.vlm.tiny import FAMILIES, TASK, mixed, write_tiny

ROWS = (Rows(1, 40, 1, 12), Rows(1, 40, 6, 12), Rows(3, 40, 6, 12))
LORA = LoraSpec(rank=2)


def models(folder: Any, *, empty: bool, **options: Any) -> Models:
    return load(PolicySpec(str(folder), **options), "base", empty=empty)


def really(backbone: Backbone, rows: Rows, *, images: PromptBatch | None = None, grad: bool = True) -> int:
    """Most bytes of the same pass on real tensors, weights and gradients left out."""
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    with torch.set_grad_enabled(grad), LiveBytes() as counted:
        features = [backbone.image_features(images) for _ in range(rows.rows)] if images else []
        no_features = torch.zeros(0, next(_width(backbone)))
        scores = backbone.score(packed_rows(rows, "cpu"), no_features)
        if grad:
            (scores.log_probs_NT.sum() + sum(encoded.float().sum() for encoded in features)).backward()
    return counted.peak


def _width(backbone: Backbone) -> Any:
    deepstack = getattr(backbone.model.config.vision_config, "deepstack_visual_indexes", ())
    yield backbone.model.config.get_text_config().hidden_size * (1 + len(deepstack))


def test_weights_of_the_tiny_model_by_hand(tiny_folder):
    found = models(tiny_folder, empty=True)
    config = found.policy.model.config.text_config
    hidden, inner, rows = 32, 48, config.vocab_size
    attention = 2 * (32 * 32 + 16 * 32) + 32 + 2 * 16  # q and o, k and v of one head, biases of q, k, v
    layer = attention + 3 * hidden * inner + 2 * hidden
    language = 2 * rows * hidden + 2 * layer + hidden
    vision = sum(p.numel() for p in found.policy.vision_tower.parameters())
    assert weight_bytes(found.policy) == 4 * (language + vision)
    counted: set[int] = set()
    weight_bytes(found.policy, counted=counted)
    assert weight_bytes(found.reference, counted=counted) == 4 * language, "the tower is the policy's"


def test_four_bit_weights_are_those_that_are_read_into_four_bits(tmp_path):
    folder = write_tiny(tmp_path, hidden_size=64, intermediate_size=128, num_attention_heads=4)
    policy = models(folder, empty=True, lora=LORA, quantization="nf4").policy
    linear = 2 * (2 * 64 * 64 + 2 * 64 * 16 + 3 * 64 * 128)
    rest = sum(p.numel() for p in policy.parameters()) - linear
    assert weight_bytes(policy, four_bits=True) == pytest.approx(FOUR_BIT_BYTES * linear + 4 * rest)


def test_keys_and_values_of_a_token_by_hand(tiny_folder):
    for dtype, size in (("float32", 4), ("bfloat16", 2)):
        policy = models(tiny_folder, empty=True, dtype=dtype).policy
        assert key_value_bytes(policy) == 2 * 2 * 1 * 16 * size  # K and V, layers, heads, width of a head
    under_four_bits = models(tiny_folder, empty=True, dtype="bfloat16", lora=LORA, quantization="nf4").policy
    assert key_value_bytes(under_four_bits) == 2 * 2 * 1 * 16 * 4


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lora": LORA},
        {"lora": LORA, "dtype": "bfloat16"},
        {"gradient_checkpointing": True},
        {"train_vision": True},
    ],
    ids=str,
)
def test_passes_on_the_meta_device_hold_what_real_ones_hold(tiny_folder, options):
    _compare(tiny_folder, options)


@pytest.mark.parametrize("family", FAMILIES[1:])
def test_passes_of_other_families_hold_what_real_ones_hold(tmp_path, family):
    _compare(write_tiny(tmp_path, family=family), {"gradient_checkpointing": True, "train_vision": True})


@pytest.mark.slow
def test_passes_of_the_bundled_model_hold_what_real_ones_hold():
    _compare("shapes-instruct", {"lora": LORA})


def _compare(folder: Any, options: dict[str, Any]) -> None:
    empty, real = (models(folder, empty=empty, **options) for empty in (True, False))
    prompts = real.reader.encoder.encode([TASK.encode(pair) for pair in mixed(2)])
    images = prompts.select(slice(0, 1)) if options.get("train_vision") else None
    meta_images = replace(images, pixel_values_RC=images.pixel_values_RC.to("meta")) if images else None
    scored, updated = [], []
    for rows in ROWS:
        scored.append(scoring_bytes(empty.policy.eval(), rows, "cpu"))
        updated.append(update_bytes(empty.policy.train(), rows, "cpu", meta_images))
        assert scored[-1] == pytest.approx(really(real.policy.eval(), rows, grad=False), rel=0.1)
        assert updated[-1] == pytest.approx(really(real.policy.train(), rows, images=images), rel=0.1)
    assert scored == sorted(scored)
    assert updated == sorted(updated)
    without = replace(prompts, pixel_values_RC=prompts.pixel_values_RC.to("meta"))
    features, peak = encoding_bytes(empty.policy.eval(), without, "cpu")
    with torch.no_grad(), LiveBytes() as counted:
        encoded = real.policy.eval().image_features(prompts)
    assert features == encoded.numel() * encoded.element_size()
    assert peak == pytest.approx(counted.peak, rel=0.1)


@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True}], ids=str)
def test_a_deep_model_is_measured_by_shallow_ones(tmp_path, options):
    empty, real = (
        models(write_tiny(tmp_path, num_hidden_layers=9), empty=empty, **options).policy for empty in (True, False)
    )
    for rows in ROWS:
        assert update_bytes(empty.train(), rows, "cpu") == pytest.approx(really(real.train(), rows), rel=0.02)
        assert scoring_bytes(empty.eval(), rows, "cpu") == pytest.approx(really(real.eval(), rows, grad=False), rel=0.1)
    assert len(empty.layers()) == 9 + 2, "all layers are back"


def test_checkpointing_makes_an_update_smaller(tiny_folder):
    def cost(**options: Any) -> int:
        return update_bytes(models(tiny_folder, empty=True, **options).policy.train(), ROWS[1], "cuda")

    assert cost(gradient_checkpointing=True) < 0.8 * cost()


def test_sampling_takes_at_least_the_logits_and_their_running_sum(tiny_folder):
    policy = models(tiny_folder, empty=True).policy
    assert sampling_bytes(policy) >= (4 + 8) * policy.model.lm_head.weight.shape[0]
