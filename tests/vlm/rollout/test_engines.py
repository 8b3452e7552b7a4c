"""Sampling: the same whatever the batch, from the distribution that is trained on, and only what may be sampled."""

import contextlib
import copy
import dataclasses
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import GenerationConfig

from lit_listener.data.shown import ShownPair
from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import Reader, Vocabulary
from lit_listener.vlm.group_cache import GroupCache
from lit_listener.vlm.loading import load, load_backbone
from lit_listener.vlm.rollout import GroupedRollout, Sampling, TransformersRollout, grouped
from lit_listener.vlm.rollout.engine import Draw, Sampler, by_inversion, float32_below_1
from lit_listener.vlm.rollout.grouped import _Batch
from lit_listener.vlm.specs import PolicySpec
from lit_listener.vlm.streams import uniforms
from tests.vlm.tiny import TASK, mixed, plain_log_probs, real_rows, rollout, score

ALWAYS, NEVER = GroupedRollout(drop_share=1e-9), GroupedRollout(drop_share=2.0)
ENGINES = [GroupedRollout(), TransformersRollout()]
both_engines = pytest.mark.parametrize("engine", ENGINES, ids=["grouped", "transformers"])


@pytest.fixture(scope="module")
def ending(tiny_folder) -> tuple[Backbone, Reader]:
    """A model that likes to end, so that completions differ in length, and rows are dropped."""
    backbone, reader = load_backbone(str(tiny_folder), PolicySpec(str(tiny_folder)))
    end = backbone.vocabulary.end_ids[0]
    backbone.model.lm_head.register_forward_hook(lambda *call: call[2] + 3.5 * (torch.arange(call[2].shape[-1]) == end))
    return backbone, reader


@torch.no_grad()
def draw(
    model: tuple[Backbone, Reader], pairs: Sequence[ShownPair], *, group: int = 2, length: int = 12, **options
) -> Completions:
    backbone, reader = model
    prompts = reader.encoder.encode([TASK.encode(pair) for pair in pairs])
    return rollout(
        backbone,
        prompts,
        backbone.image_features(prompts),
        group_size=group,
        sampling=Sampling(length, options.pop("temperature", 1.0), options.pop("seed", 0)),
        keys=[(0, pair.index) for pair in pairs],
        **options,
    )


@both_engines
def test_traces_do_not_change_with_the_batch(ending, label_ids, engine):
    pairs = mixed(64)
    whole = draw(ending, pairs, length=8, label_ids=label_ids, engine=engine)
    rows = real_rows(whole)
    assert len({len(row) for row in rows}) > 3
    for size in (1, 2, 16):
        for start in range(0, 64 if size > 1 else 8, size):
            part = draw(ending, pairs[start : start + size], length=8, label_ids=label_ids, engine=engine)
            assert real_rows(part) == rows[2 * start : 2 * (start + size)]
            expected = whole.select(slice(2 * start, 2 * (start + size)))
            torch.testing.assert_close(part.label_logits_NTL, expected.label_logits_NTL, atol=1e-5, rtol=0)


@both_engines
def test_a_smaller_group_is_the_beginning_of_a_larger(ending, engine):
    large, small = (real_rows(draw(ending, mixed(2), group=group, engine=engine)) for group in (4, 2))
    assert small == [*large[:2], *large[4:6]]


def test_dropping_finished_rows_changes_nothing(ending, label_ids):
    drawn = []
    for engine in (ALWAYS, NEVER):
        drawn.append(draw(ending, mixed(3), group=4, label_ids=label_ids, engine=engine))
    dropped, kept = drawn
    assert len(set(dropped.lengths_N.tolist())) > 3
    assert torch.equal(dropped.ids_NT, kept.ids_NT)
    assert torch.equal(dropped.truncated_N, kept.truncated_N)
    torch.testing.assert_close(dropped.label_logits_NTL, kept.label_logits_NTL, atol=1e-5, rtol=0)


def test_finished_rows_are_dropped(ending, monkeypatch):
    backbone, _ = ending
    rows: list[int] = []
    decode = backbone.decode
    monkeypatch.setattr(backbone, "decode", lambda ids, *rest: (rows.append(len(ids)), decode(ids, *rest))[1])
    lengths = draw(ending, mixed(3), group=4).lengths_N
    for step, count in enumerate(rows):
        running = int((lengths > step + 1).sum())
        assert running <= count <= running / 0.75 + 1  # at most a quarter of the batch has finished


@both_engines
@pytest.mark.parametrize("padding_ends", [True, False])
def test_ends_padding_and_truncation(ending, monkeypatch, padding_ends, engine):
    backbone, _ = ending
    end, pad = backbone.vocabulary.end_ids
    assert pad == backbone.vocabulary.pad_id
    ends = {end, pad} if padding_ends else {end}
    monkeypatch.setattr(backbone, "vocabulary", dataclasses.replace(backbone.vocabulary, end_ids=tuple(ends)))
    drawn = draw(ending, mixed(3), group=6, length=6, engine=engine)
    assert 0 < int(drawn.truncated_N.sum()) < len(drawn)
    assert len(set(drawn.lengths_N.tolist())) > 3
    for n, row in enumerate(real_rows(drawn)):
        assert not ends & set(row[:-1])
        assert bool(drawn.truncated_N[n]) == (row[-1] not in ends)
        assert len(row) == 6 or not drawn.truncated_N[n]
        assert set(drawn.ids_NT[n, len(row) :].tolist()) <= {pad}


@both_engines
def test_both_end_tokens_end(tiny_folder, engine):
    backbone, reader = load_backbone(str(tiny_folder), PolicySpec(str(tiny_folder)))
    for end in backbone.vocabulary.end_ids:
        hook = backbone.model.lm_head.register_forward_hook(
            lambda *call, end=end: call[2] + 1e4 * (torch.arange(call[2].shape[-1]) == end)
        )
        assert real_rows(draw((backbone, reader), mixed(1), engine=engine)) == [[end], [end]]
        hook.remove()


@both_engines
def test_log_probs_are_those_sampled_from(tiny, monkeypatch, engine):
    backbone, reader = tiny
    pairs, seen = mixed(2), []
    sample = Sampler.__call__

    def recorded(sampler, logits, uniform):
        tokens = sample(sampler, logits, uniform)
        weights = (logits / 0.7).softmax(1)  # the sampling distribution, written another way
        weights[:, backbone.vocabulary.suppressed_ids] = 0
        weights = weights[:, : backbone.vocabulary.size]
        seen.append((weights / weights.sum(1, keepdim=True)).gather(1, tokens[:, None]).log())
        return tokens

    monkeypatch.setattr(Sampler, "__call__", recorded)
    drawn = draw(tiny, pairs, temperature=0.7, engine=NEVER if isinstance(engine, GroupedRollout) else engine)
    prompts = reader.encoder.encode([TASK.encode(pair) for pair in pairs])
    with torch.no_grad():
        packed = score(backbone, prompts, drawn, temperature=0.7).log_probs_NT
    mask = drawn.mask_NT
    torch.testing.assert_close(packed[mask], torch.cat(seen, 1)[mask], atol=1e-5, rtol=0)
    for n, row in enumerate(real_rows(drawn)):
        plain = plain_log_probs(backbone, reader, pairs[n // 2], row, 0.7).detach()
        torch.testing.assert_close(packed[n, : len(row)], plain, atol=1e-5, rtol=0)


@both_engines
def test_label_logits_are_those_of_a_scoring_pass(tiny, label_ids, engine):
    backbone, reader = tiny
    pairs = mixed(3)
    drawn = draw(tiny, pairs, temperature=0.6, label_ids=label_ids, engine=engine)
    prompts = reader.encoder.encode([TASK.encode(pair) for pair in pairs])
    for place in (0, 1, 5):
        places = torch.full((6,), place)
        with torch.no_grad():
            scores = score(backbone, prompts, drawn, temperature=0.6, answer_place_N=places, label_ids=label_ids)
        real = drawn.mask_NT[:, place]
        assert real.any()
        torch.testing.assert_close(drawn.label_logits_NTL[real, place], scores.label_logits_NL[real], atol=1e-4, rtol=0)


@both_engines
def test_what_may_not_be_sampled_never_is(tiny_folder, engine):
    backbone, reader = load_backbone(str(tiny_folder), PolicySpec(str(tiny_folder)))
    vocabulary = backbone.vocabulary
    banned = torch.zeros(backbone.model.lm_head.out_features)
    banned[vocabulary.suppressed_ids] = 1e4
    banned[vocabulary.size :] = 1e4
    backbone.model.lm_head.register_forward_hook(lambda *call: call[2] + banned)
    drawn = draw((backbone, reader), mixed(2), group=8, length=16, engine=engine)
    ids = drawn.ids_NT[drawn.mask_NT]
    assert len(ids.unique()) > 20
    assert not torch.isin(ids, vocabulary.suppressed_ids).any()
    assert int(ids.max()) < vocabulary.size


def small_vocabulary(size: int, *suppressed: int) -> Vocabulary:
    return Vocabulary(size, pad_id=0, end_ids=(0,), suppressed_ids=torch.tensor(suppressed, dtype=torch.long))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sampling_follows_the_distribution(temperature):
    logits = torch.tensor([0.3, 9.0, -1.0, 1.2, 0.0, 9.0, 9.0])
    sampler = Sampler(small_vocabulary(5, 1), temperature)
    drawn = sampler(logits.repeat(20_000, 1), uniforms(1, [(0, 0)], 1, 20_000)[0])
    allowed = [0, 2, 3, 4]
    expected = (logits[allowed].double() / temperature).softmax(0) * 20_000
    counts = drawn.bincount(minlength=7)
    assert counts[allowed].sum() == 20_000
    assert stats.chisquare(counts[allowed].numpy(), expected.numpy()).pvalue > 0.01


def test_sampling_at_the_edges():
    # 0 draws the first id that may be drawn, the largest number below 1 the last; an id of probability 0 never is
    logits = torch.tensor([[5.0, 0.0, -200.0, 0.0, 5.0]] * 3)
    edges = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert Sampler(small_vocabulary(5, 0, 4), 1.0)(logits, edges).tolist() == [1, 3, 3]


def test_a_device_without_float64_draws_the_same():
    p_NV = torch.randn(400, 3000).mul(4).softmax(1)
    uniform_N = uniforms(2, [(0, 0)], 1, 400)[0]
    expected = by_inversion(p_NV, uniform_N)
    assert by_inversion(p_NV, uniform_N, on_cpu=True).equal(expected)
    # numbers that were rounded to float32 draw another token only at the edge between two
    rounded = by_inversion(p_NV, float32_below_1(uniform_N), on_cpu=True)
    assert int((rounded != expected).sum()) <= 1


def test_uniform_numbers_stay_below_1_in_float32():
    given = torch.tensor([0.0, 0.25, 1 - 2**-24, 1 - 2**-25, 1 - 2**-53], dtype=torch.float64)
    rounded = float32_below_1(given)
    assert rounded.dtype == torch.float32
    assert rounded.double().tolist() == [0.0, 0.25, 1 - 2**-24, 1 - 2**-24, 1 - 2**-24]
    assert given.float()[-1] == 1  # which no cumulative distribution exceeds
    p_NV = torch.tensor([[0.5, 0.5, 0.0]] * 5)
    assert by_inversion(p_NV, rounded, on_cpu=True).tolist() == [0, 0, 1, 1, 1]


def test_checkpointing_and_training_mode(tiny_folder, tiny):
    models = load(PolicySpec(str(tiny_folder), gradient_checkpointing=True))
    assert torch.equal(draw((models.policy, models.reader), mixed(1)).ids_NT, draw(tiny, mixed(1)).ids_NT)
    models.policy.train()
    with pytest.raises(RuntimeError, match="rollout needs the policy in eval mode"):
        draw((models.policy, models.reader), mixed(1))


@both_engines
def test_nothing_of_the_released_generation_config_is_used(tiny, monkeypatch, engine):
    # it holds a repetition penalty and a temperature near 0
    backbone, reader = tiny
    before = draw(tiny, mixed(1), engine=engine).ids_NT
    monkeypatch.setattr(backbone.model, "generation_config", GenerationConfig())
    assert torch.equal(draw((backbone, reader), mixed(1), engine=engine).ids_NT, before)
    assert len(draw(tiny, mixed(1), group=8, engine=engine).ids_NT[:, 0].unique()) > 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_new_tokens", 0, "sampling.max_new_tokens: expected at least 1 token, got 0"),
        ("temperature", 0.0, r"sampling.temperature: expected a value above 0, got 0.0"),
    ],
)
def test_wrong_sampling_is_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Sampling(), **{field: value})


@both_engines
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("last", [0, 3])
def test_logits_that_are_no_numbers_are_not_sampled_from(tiny_folder, engine, bad, last):
    backbone, reader = load_backbone(str(tiny_folder), PolicySpec(str(tiny_folder)))
    calls: list[int] = []

    def spoil(module, inputs, logits):
        calls.append(1)
        if len(calls) > last:
            logits = logits.clone()
            logits[-1, ..., 3] = bad
        return logits

    backbone.model.lm_head.register_forward_hook(spoil)
    with pytest.raises(FloatingPointError, match="the policy's logits are NaN or infinite"):
        draw((backbone, reader), mixed(1), length=4, engine=engine)


# ---- the two engines against each other, and the in-process one against its own options ---------------------------


def assert_same(one: Completions, other: Completions) -> None:
    assert torch.equal(one.ids_NT, other.ids_NT)
    assert torch.equal(one.mask_NT, other.mask_NT)
    assert torch.equal(one.truncated_N, other.truncated_N)
    kept = one.mask_NT
    torch.testing.assert_close(one.label_logits_NTL[kept], other.label_logits_NTL[kept], atol=1e-5, rtol=0)


def test_both_engines_draw_the_same_completions(ending, label_ids):
    ours, plain = (draw(ending, mixed(5), group=3, label_ids=label_ids, temperature=0.8, engine=e) for e in ENGINES)
    assert len(set(ours.lengths_N.tolist())) > 3
    assert ours.truncated_N.any()
    assert_same(ours, plain)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    look_every=st.integers(1, 13),
    drop_share=st.sampled_from([1e-9, 0.25, 0.6, 2.0]),
    prompts=st.integers(1, 4),
    group=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_how_often_it_looks_and_drops_changes_nothing(ending, label_ids, look_every, drop_share, prompts, group, seed):
    options = {
        "group": group,
        "seed": seed,
        "label_ids": label_ids,
        "hopeless": lambda ids: len(ids) > 3 and ids[3] < 9,
    }
    pairs = mixed(prompts)
    changed = draw(ending, pairs, engine=GroupedRollout(look_every=look_every, drop_share=drop_share), **options)
    assert_same(changed, draw(ending, pairs, engine=NEVER, **options))


@both_engines
def test_a_group_may_be_drawn_in_parts(ending, label_ids, engine):
    whole = draw(ending, mixed(2), group=5, label_ids=label_ids, engine=engine)
    parts = [
        draw(ending, mixed(2), group=size, first=first, label_ids=label_ids, engine=engine)
        for first, size in ((0, 2), (2, 3))
    ]
    rows = [real_rows(part) for part in parts]
    assert real_rows(whole) == [*rows[0][:2], *rows[1][:3], *rows[0][2:], *rows[1][3:]]


@both_engines
def test_hopeless_completions_are_ended_at_the_token_that_made_them_so(ending, engine):
    free = real_rows(draw(ending, mixed(3), group=4, engine=NEVER))
    asked: list[int] = []

    def hopeless(ids: Sequence[int]) -> bool:
        asked.append(len(ids))
        return sum(ids) % 3 == 1 and len(ids) >= 2

    drawn = draw(ending, mixed(3), group=4, engine=engine, hopeless=hopeless)
    ends = set(ending[0].vocabulary.end_ids)
    cut = 0
    for n, row in enumerate(free):
        spoiled = [k for k in range(2, len(row) + 1) if not ends & set(row[:k]) and sum(row[:k]) % 3 == 1]
        expected = row[: spoiled[0]] if spoiled and spoiled[0] < 12 else row
        assert real_rows(drawn)[n] == expected
        assert bool(drawn.truncated_N[n]) == (expected[-1] not in ends)
        cut += len(expected) < len(row)
    assert 2 < cut < 12
    assert asked
    assert set(drawn.ids_NT[~drawn.mask_NT].tolist()) <= {ending[0].vocabulary.pad_id}


@torch.no_grad()
def test_a_prompt_is_kept_once_for_its_group(tiny):
    backbone, reader = tiny
    prompts = reader.encoder.encode([TASK.encode(pair) for pair in mixed(2)])
    sizes: list[int] = []
    step = GroupCache.step

    def noting(cache: GroupCache):
        sizes.append(sum(t.numel() for pair in [*cache._prompts.values(), *cache._own.values()] for t in pair))
        return step(cache)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GroupCache, "step", noting)
        draw(tiny, mixed(2), group=7, length=5, engine=NEVER)
    config = backbone.model.config.text_config
    token = (
        2 * config.num_hidden_layers * config.num_key_value_heads * (config.hidden_size // config.num_attention_heads)
    )
    assert sizes[-1] == token * (
        prompts.input_ids_PS.numel() + 2 * 7 * 5
    )  # all prompts once, all completions at full length


class Captures(GroupedRollout):
    """Takes the path of CUDA graphs on a CPU, where a recorded step is the step itself."""

    def _captures(self, backbone):
        return True


@pytest.mark.parametrize("sight", [1, 3, 4, 64])
@pytest.mark.parametrize("prompts", [1, 3])  # one has no padding, three have
@pytest.mark.parametrize("works", [True, False])
def test_steps_that_are_recorded_and_replayed_draw_the_same(ending, label_ids, monkeypatch, sight, works, prompts):
    recorded: list[int] = []
    replayed: list[int] = []

    def captured(step):
        step()
        recorded.append(1)
        if not works:
            raise grouped._CaptureError("no such thing on a CPU")
        batch = step.__self__
        tokens, keys = batch.tokens_B, batch.cache._own[0][0]

        def replay() -> None:
            assert batch.tokens_B is tokens, "a graph would write to tensors that are the batch's no more"
            assert batch.cache._own[0][0] is keys
            replayed.append(1)
            step()

        return replay

    monkeypatch.setattr(grouped, "_captured", captured)
    monkeypatch.setattr(grouped, "_SIGHT_OF_GRAPHS", sight)
    options = {"group": 4, "label_ids": label_ids}
    engine = Captures(look_every=5, drop_share=0.5)
    with contextlib.nullcontext() if works else pytest.warns(UserWarning, match="goes on without: no such thing"):
        drawn = draw(ending, mixed(prompts), engine=engine, **options)
    assert_same(drawn, draw(ending, mixed(prompts), engine=NEVER, **options))
    assert len(recorded) == 1 if not works else len(recorded) + len(replayed) == 11
    assert bool(replayed) == (works and sight > 1)


def test_a_step_asks_the_device_nothing(tiny, label_ids):
    """What depends on values would make fake tensors, which have none, raise."""
    backbone, reader = tiny
    prompts = reader.encoder.encode([TASK.encode(pair) for pair in mixed(2)])
    with torch.no_grad():
        features = backbone.image_features(prompts)
        batch = _Batch(backbone, prompts, features, Draw(3, Sampling(9), [(0, 0), (0, 1)], label_ids))
        batch.cache.look_at(9, exactly=False)
        batch.step()
        hollow = copy.deepcopy(backbone)
        with FakeTensorMode(allow_non_fake_inputs=False) as fake:
            for holder in (batch, batch.cache, batch.sampler):
                for name, value in vars(holder).items():
                    if isinstance(value, torch.Tensor):
                        setattr(holder, name, fake.from_tensor(value))
            batch.label_ids = [fake.from_tensor(ids) for ids in batch.label_ids]
            for kept in (batch.cache._prompts, batch.cache._own):
                for layer, (keys, values) in kept.items():
                    kept[layer] = (fake.from_tensor(keys), fake.from_tensor(values))
            batch.backbone = hollow
            for module in hollow.modules():
                for kind in (module._parameters, module._buffers):
                    for name, value in kind.items():
                        if value is not None:
                            kind[name] = fake.from_tensor(value)
            batch.step()
