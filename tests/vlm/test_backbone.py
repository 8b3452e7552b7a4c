"""A packed pass against the plain one: one row a completion through the model's own forward, ordinary log-softmax."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_listener.data.shown import ShownPair
from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import PromptBatch, Reader
from lit_listener.vlm.group_cache import GroupCache
from lit_listener.vlm.loading import load, load_backbone
from lit_listener.vlm.packing import pack
from lit_listener.vlm.specs import PolicySpec
from tests.vlm.tiny import (
    FAMILIES,
    TASK,
    completions,
    mixed,
    plain_inputs,
    plain_log_probs,
    plain_logits,
    real_rows,
    score,
    shown,
    write_tiny,
)

SIZES = st.tuples(st.sampled_from([28, 56, 84, 112]), st.sampled_from([28, 56, 84, 112]))


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    """A tiny model of each family."""
    return {family: str(write_tiny(tmp_path_factory.mktemp(family) / "model", family=family)) for family in FAMILIES}


def encode(reader: Reader, pairs: Sequence[ShownPair]) -> PromptBatch:
    return reader.encoder.encode([TASK.encode(pair) for pair in pairs])


def assert_equals_plain(
    backbone: Backbone, reader: Reader, pairs: list[ShownPair], sampled: Completions, temperature: float
) -> None:
    group = len(sampled) // len(pairs)
    with torch.no_grad():
        packed = score(backbone, encode(reader, pairs), sampled, temperature=temperature).log_probs_NT
        for n, row in enumerate(real_rows(sampled)):
            plain = plain_log_probs(backbone, reader, pairs[n // group], row, temperature)
            torch.testing.assert_close(packed[n, : len(row)], plain, atol=1e-5, rtol=0)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data(), group=st.integers(1, 4), temperature=st.sampled_from([0.6, 1.0, 1.7]))
def test_packed_log_probs_equal_the_plain_path(tiny, data, group, temperature):
    backbone, reader = tiny
    kinds = data.draw(st.lists(st.tuples(SIZES, SIZES, st.integers(1, 6)), min_size=1, max_size=3))
    pairs = [shown(n, sizes=(first, second), words=words) for n, (first, second, words) in enumerate(kinds)]
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=len(pairs) * group, max_size=len(pairs) * group))
    assert_equals_plain(backbone, reader, pairs, completions(backbone, lengths), temperature)


@pytest.mark.parametrize("attention", ["sdpa", "flex"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_and_attention_equals_the_plain_path(folders, family, attention):
    backbone, reader = load_backbone(folders[family], PolicySpec(folders[family], attention=attention))
    assert backbone.model.config.model_type == family
    assert_equals_plain(backbone, reader, mixed(3), completions(backbone, [3, 5, 2, 4, 6, 1]), 1.3)


@pytest.mark.parametrize(("prompts", "group"), [(1, 3), (3, 2)])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_equal_the_plain_path(folders, family, prompts, group):
    backbone, reader = load_backbone(folders[family], PolicySpec(folders[family]))
    pairs, sampled = mixed(prompts), completions(backbone, [4, 1, 5, 3, 2, 6][: prompts * group])
    weights = torch.linspace(-1, 1, sampled.ids_NT.numel()).view_as(sampled.ids_NT) / len(sampled)

    scores = score(backbone, encode(reader, pairs), sampled, temperature=1.4)
    (scores.log_probs_NT * weights)[sampled.mask_NT].sum().backward()
    packed = {name: parameter.grad.clone() for name, parameter in backbone.named_parameters()}
    backbone.zero_grad()
    for n, row in enumerate(real_rows(sampled)):
        plain = plain_log_probs(backbone, reader, pairs[n // group], row, 1.4)
        (plain * weights[n, : len(row)]).sum().backward()
    assert any("visual" in name for name in packed)
    for name, parameter in backbone.named_parameters():
        scale = max(1.0, float(parameter.grad.abs().max()))
        torch.testing.assert_close(packed[name], parameter.grad, atol=1e-5 * scale, rtol=0, msg=name)


def test_a_group_may_come_in_any_order(backbone, reader):
    prompts, sampled = encode(reader, mixed(2)), completions(backbone, [3, 5, 1, 2, 4, 6])
    order = torch.tensor([2, 0, 1, 5, 4, 3])  # each within its group
    swapped = Completions.from_ids([real_rows(sampled)[n] for n in order], backbone.vocabulary.pad_id)
    with torch.no_grad():
        before = score(backbone, prompts, sampled, temperature=0.8).log_probs_NT[order]
        after = score(backbone, prompts, swapped, temperature=0.8).log_probs_NT
    mask = swapped.mask_NT
    torch.testing.assert_close(after[mask], before[mask], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [1, 2])
def test_a_batch_may_be_cut_anywhere(backbone, reader, size):
    prompts, sampled = encode(reader, mixed(3)), completions(backbone, [3, 5, 1, 2, 4, 6])
    with torch.no_grad():
        whole = score(backbone, prompts, sampled, temperature=0.8).log_probs_NT
        for start in range(0, 3, size):
            part, rows = slice(start, min(start + size, 3)), slice(2 * start, 2 * min(start + size, 3))
            few = sampled.select(rows)
            cut = score(backbone, prompts.select(part), few, temperature=0.8).log_probs_NT
            expected = whole[rows, : few.ids_NT.shape[1]]
            torch.testing.assert_close(cut[few.mask_NT], expected[few.mask_NT], atol=1e-5, rtol=0)


def test_the_logit_before_a_token_predicts_it(backbone, reader):
    prompts, sampled = encode(reader, mixed(1)), completions(backbone, [5, 5])
    changed = sampled.ids_NT.clone()
    changed[0, 2] = 5 if changed[0, 2] != 5 else 6
    other = Completions.from_ids(changed.tolist(), backbone.vocabulary.pad_id)
    with torch.no_grad():
        before, after = (score(backbone, prompts, given).log_probs_NT for given in (sampled, other))
        first = backbone.prefill(prompts, backbone.image_features(prompts), GroupCache(prompts.mask_PS, 1, 1))
    moved = (before - after).abs() > 1e-5
    # tokens before the changed one, and its siblings, know nothing of it; it and what follows do
    assert moved.tolist() == [[False, False, True, True, True], [False] * 5]
    first[:, backbone.vocabulary.size :] = float("-inf")
    first[:, backbone.vocabulary.suppressed_ids] = float("-inf")
    torch.testing.assert_close(before[:, 0], first[0].log_softmax(0)[sampled.ids_NT[:, 0]], atol=1e-5, rtol=0)


def test_label_logits_are_unscaled_and_not_suppressed(backbone, reader, label_ids):
    pairs, sampled = mixed(2), completions(backbone, [4, 2, 3, 5])
    places = torch.tensor([3, 0, 1, 4])
    spellings = ((*label_ids[0], reader.tokenizer.convert_tokens_to_ids("<|image_pad|>")), label_ids[1])
    with torch.no_grad():
        scores = score(
            backbone, encode(reader, pairs), sampled, temperature=0.5, answer_place_N=places, label_ids=spellings
        )
        for n, row in enumerate(real_rows(sampled)):
            logits = plain_logits(backbone, reader, pairs[n // 2], row)[places[n]]
            expected = torch.stack([logits[list(ids)].logsumexp(0) for ids in spellings])
            torch.testing.assert_close(scores.label_logits_NL[n], expected, atol=1e-5, rtol=0)
            discarded = 1 - sum(logits.softmax(0)[list(ids)].sum() for ids in spellings)
            torch.testing.assert_close(scores.discarded_mass_N[n], discarded, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_prefill_and_decode_equal_the_plain_path(folders, family):
    backbone, reader = load_backbone(folders[family], PolicySpec(folders[family]))
    pairs = mixed(3)
    sampled = completions(backbone, [4, 4, 4])
    prompts = encode(reader, pairs)
    with torch.no_grad():
        cache = GroupCache(prompts.mask_PS, 1, 3)
        stepped = [backbone.prefill(prompts, backbone.image_features(prompts), cache)]
        for step in range(3):
            cache.look_at(step + 1, exactly=True)
            stepped.append(backbone.decode(sampled.ids_NT[:, step], prompts.next_position_P + step, cache))
        assert int(cache.written_1) == 3
        for n, row in enumerate(real_rows(sampled)):
            plain = plain_logits(backbone, reader, pairs[n], row)
            torch.testing.assert_close(torch.stack(stepped, 1)[n], plain, atol=1e-5, rtol=0)


def test_completion_positions_follow_the_highest_prompt_position(backbone, reader):
    pairs = mixed(3)
    packed = pack(encode(reader, pairs), completions(backbone, [2, 3, 2, 4, 1, 3]))
    for n, row in enumerate([(0, 2), (0, 3), (1, 2), (1, 4), (2, 1), (2, 3)]):
        prompt, length = row
        inputs = plain_inputs(reader, pairs[prompt], [1] * length)
        positions, _ = backbone.model.model.get_rope_index(
            **{key: value for key, value in inputs.items() if key != "pixel_values"}
        )
        prompt_positions, expected = positions[:, 0, :-length], positions[:, 0, -length:]
        assert int(expected[0, 0]) == int(prompt_positions.max()) + 1 < prompt_positions.shape[1]
        own = packed.source_NT[n, 1:length]  # the places of all but the completion's last token
        assert torch.equal(packed.position_ids_3PK[:, prompt, own], expected[:, :-1])


def layer_calls(backbone: Backbone) -> list[int]:
    """Counts the calls of every decoder layer from here on."""
    calls = [0] * len(backbone.language_model.layers)

    def count(index: int) -> None:
        calls[index] += 1

    for index, layer in enumerate(backbone.language_model.layers):
        layer.self_attn.register_forward_hook(lambda *_, index=index: count(index))
    return calls


@pytest.mark.parametrize(("checkpointing", "calls_a_layer"), [(False, 1), (True, 2)])
def test_checkpointing_recomputes_every_layer_and_changes_nothing(tiny_folder, checkpointing, calls_a_layer):
    spec = PolicySpec(str(tiny_folder), gradient_checkpointing=checkpointing)
    models = load(spec)
    prompts = encode(models.reader, mixed(2))
    sampled = completions(models.policy, [3, 2])
    with torch.no_grad():
        expected = score(models.policy, prompts, sampled).log_probs_NT
    models.policy.train()
    calls = layer_calls(models.policy)
    scores = score(models.policy, prompts, sampled)
    torch.testing.assert_close(scores.log_probs_NT, expected, atol=1e-6, rtol=0)
    scores.log_probs_NT.sum().backward()
    assert calls == [calls_a_layer] * 2


@torch.no_grad()
def test_the_cache_is_filled_whatever_the_mode(tiny_folder):
    # transformers' own cache stays empty under gradient checkpointing in training mode, and every token then costs all
    models = load(PolicySpec(str(tiny_folder), gradient_checkpointing=True))
    prompts, ids = encode(models.reader, mixed(2)), torch.tensor([4, 7])
    features = models.policy.image_features(prompts)
    stepped = []
    for training in (False, True):
        models.policy.train(training)
        cache = GroupCache(prompts.mask_PS, 1, 1)
        models.policy.prefill(prompts, features, cache)
        calls = layer_calls(models.policy)
        cache.look_at(1, exactly=True)
        stepped.append(models.policy.decode(ids, prompts.next_position_P, cache))
        assert calls == [1, 1]
    assert torch.equal(*stepped)


def test_features_of_other_prompts_are_refused(backbone, reader):
    prompts = encode(reader, mixed(2))
    features = backbone.image_features(prompts.select(slice(0, 1)))
    with pytest.raises(ValueError, match=r"\d+ image slots for \d+ image features"):
        backbone.prefill(prompts, features, GroupCache(prompts.mask_PS, 1, 1))


def test_an_unsupported_family_is_refused(backbone):
    class Other:
        class config:  # as models name it
            model_type = "llava"

    message = r"Other: model family 'llava' is not supported; expected one of .*'qwen3_vl'\): name a model of these"
    with pytest.raises(ValueError, match=message):
        Backbone(Other(), backbone.vocabulary)


def test_a_window_of_the_past_is_refused(tiny_folder):
    backbone, _ = load_backbone(str(tiny_folder), PolicySpec(str(tiny_folder)))
    backbone.language_model.config.layer_types = ["full_attention", "sliding_attention"]
    with pytest.raises(ValueError, match=r"\['full_attention', 'sliding_attention'\]: only layers of full attention"):
        Backbone(backbone.model, backbone.vocabulary)


@torch.no_grad()
def test_under_autocast_keys_are_kept_and_seen_in_its_format(backbone, reader):
    prompts, sampled = encode(reader, mixed(2)), completions(backbone, [4, 2, 3, 5])
    exact = score(backbone, prompts, sampled).log_probs_NT
    cache = GroupCache(prompts.mask_PS, 2, 1)
    cache.look_at(1, exactly=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = score(backbone, prompts, sampled).log_probs_NT
        backbone.prefill(prompts, backbone.image_features(prompts), cache)
        backbone.decode(sampled.ids_NT[:, 0], prompts.next_position_P.repeat_interleave(2), cache)
    off = (rounded - exact).abs()[sampled.mask_NT]
    assert 1e-4 < off.max() < 0.5  # large random weights, rounded to 8 bits
    for kept in (*cache._prompts.values(), *cache._own.values()):
        assert {tensor.dtype for tensor in kept} == {torch.bfloat16}


def test_the_layers_are_the_decoders_and_the_vision_towers(backbone):
    assert backbone.layers() == [*backbone.language_model.layers, *backbone.vision_tower.blocks]
    assert len(backbone.layers()) == 4
