"""Sampling: the same whatever the batch, from the distribution that is trained on, and only what may be sampled."""

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from scipy import stats

from lit_listener.data.records import ShownPair
from lit_listener.vlm import rollout as rollout_module
from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import Reader, Vocabulary
from lit_listener.vlm.loading import load, load_backbone
from lit_listener.vlm.rollout import Sampling, rollout, sample
from lit_listener.vlm.specs import PolicySpec
from lit_listener.vlm.streams import uniforms
from tests.vlm.tiny import TASK, mixed, plain_log_probs, real_rows, score

ALWAYS, NEVER = 0.0, 2.0


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


def test_traces_do_not_change_with_the_batch(ending, label_ids):
    pairs = mixed(64)
    whole = draw(ending, pairs, length=8, label_ids=label_ids)
    rows = real_rows(whole)
    assert len({len(row) for row in rows}) > 3
    for size in (1, 2, 16):
        for start in range(0, 64 if size > 1 else 8, size):
            part = draw(ending, pairs[start : start + size], length=8, label_ids=label_ids)
            assert real_rows(part) == rows[2 * start : 2 * (start + size)]
            expected = whole.select(slice(2 * start, 2 * (start + size)))
            torch.testing.assert_close(part.label_logits_NTL, expected.label_logits_NTL, atol=1e-5, rtol=0)


def test_a_smaller_group_is_the_beginning_of_a_larger(ending):
    large, small = (real_rows(draw(ending, mixed(2), group=group)) for group in (4, 2))
    assert small == [*large[:2], *large[4:6]]


def test_dropping_finished_rows_changes_nothing(ending, label_ids, monkeypatch):
    drawn = []
    for share in (ALWAYS, NEVER):
        monkeypatch.setattr(rollout_module, "_DROP_SHARE", share)
        drawn.append(draw(ending, mixed(3), group=4, label_ids=label_ids))
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


@pytest.mark.parametrize("padding_ends", [True, False])
def test_ends_padding_and_truncation(ending, monkeypatch, padding_ends):
    backbone, _ = ending
    end, pad = backbone.vocabulary.end_ids
    assert pad == backbone.vocabulary.pad_id
    ends = {end, pad} if padding_ends else {end}
    monkeypatch.setattr(backbone, "vocabulary", dataclasses.replace(backbone.vocabulary, end_ids=tuple(ends)))
    drawn = draw(ending, mixed(3), group=6, length=6)
    assert 0 < int(drawn.truncated_N.sum()) < len(drawn)
    assert len(set(drawn.lengths_N.tolist())) > 3
    for n, row in enumerate(real_rows(drawn)):
        assert not ends & set(row[:-1])
        assert bool(drawn.truncated_N[n]) == (row[-1] not in ends)
        assert len(row) == 6 or not drawn.truncated_N[n]
        assert set(drawn.ids_NT[n, len(row) :].tolist()) <= {pad}


def test_both_end_tokens_end(tiny_folder):
    backbone, reader = load_backbone(str(tiny_folder), PolicySpec(str(tiny_folder)))
    for end in backbone.vocabulary.end_ids:
        hook = backbone.model.lm_head.register_forward_hook(
            lambda *call, end=end: call[2] + 1e4 * (torch.arange(call[2].shape[-1]) == end)
        )
        assert real_rows(draw((backbone, reader), mixed(1))) == [[end], [end]]
        hook.remove()


def test_log_probs_are_those_sampled_from(tiny, monkeypatch):
    backbone, reader = tiny
    pairs, seen = mixed(2), []
    monkeypatch.setattr(rollout_module, "_DROP_SHARE", NEVER)

    def recorded(logits, *rest):
        tokens = sample(logits, *rest)
        weights = (logits / 0.7).softmax(1)  # the sampling distribution, written another way
        weights[:, backbone.vocabulary.suppressed_ids] = 0
        weights = weights[:, : backbone.vocabulary.size]
        seen.append((weights / weights.sum(1, keepdim=True)).gather(1, tokens[:, None]).log())
        return tokens

    monkeypatch.setattr(rollout_module, "sample", recorded)
    drawn = draw(tiny, pairs, temperature=0.7)
    prompts = reader.encoder.encode([TASK.encode(pair) for pair in pairs])
    with torch.no_grad():
        packed = score(backbone, prompts, drawn, temperature=0.7).log_probs_NT
    mask = drawn.mask_NT
    torch.testing.assert_close(packed[mask], torch.cat(seen, 1)[mask], atol=1e-5, rtol=0)
    for n, row in enumerate(real_rows(drawn)):
        plain = plain_log_probs(backbone, reader, pairs[n // 2], row, 0.7).detach()
        torch.testing.assert_close(packed[n, : len(row)], plain, atol=1e-5, rtol=0)


def test_label_logits_are_those_of_a_scoring_pass(tiny, label_ids):
    backbone, reader = tiny
    pairs = mixed(3)
    drawn = draw(tiny, pairs, temperature=0.6, label_ids=label_ids)
    prompts = reader.encoder.encode([TASK.encode(pair) for pair in pairs])
    for place in (0, 1, 5):
        places = torch.full((6,), place)
        with torch.no_grad():
            scores = score(backbone, prompts, drawn, temperature=0.6, answer_place_N=places, label_ids=label_ids)
        real = drawn.mask_NT[:, place]
        assert real.any()
        torch.testing.assert_close(drawn.label_logits_NTL[real, place], scores.label_logits_NL[real], atol=1e-4, rtol=0)


def test_what_may_not_be_sampled_never_is(tiny_folder):
    backbone, reader = load_backbone(str(tiny_folder), PolicySpec(str(tiny_folder)))
    vocabulary = backbone.vocabulary
    banned = torch.zeros(backbone.model.lm_head.out_features)
    banned[vocabulary.suppressed_ids] = 1e4
    banned[vocabulary.size :] = 1e4
    backbone.model.lm_head.register_forward_hook(lambda *call: call[2] + banned)
    drawn = draw((backbone, reader), mixed(2), group=8, length=16)
    ids = drawn.ids_NT[drawn.mask_NT]
    assert len(ids.unique()) > 20
    assert not torch.isin(ids, vocabulary.suppressed_ids).any()
    assert int(ids.max()) < vocabulary.size


def small_vocabulary(size: int, *suppressed: int) -> Vocabulary:
    return Vocabulary(size, pad_id=0, end_ids=(0,), suppressed_ids=torch.tensor(suppressed, dtype=torch.long))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sampling_follows_the_distribution(temperature):
    logits = torch.tensor([0.3, 9.0, -1.0, 1.2, 0.0, 9.0, 9.0])
    drawn = sample(
        logits.repeat(20_000, 1),
        uniforms(1, [(0, 0)], 1, 20_000)[0],
        temperature,
        small_vocabulary(5, 1),
    )
    allowed = [0, 2, 3, 4]
    expected = (logits[allowed].double() / temperature).softmax(0) * 20_000
    counts = drawn.bincount(minlength=7)
    assert counts[allowed].sum() == 20_000
    assert stats.chisquare(counts[allowed].numpy(), expected.numpy()).pvalue > 0.01


def test_sampling_at_the_edges():
    # 0 draws the first id that may be drawn, the largest number below 1 the last; an id of probability 0 never is
    logits = torch.tensor([[5.0, 0.0, -200.0, 0.0, 5.0]] * 3)
    edges = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert sample(logits, edges, 1.0, small_vocabulary(5, 0, 4)).tolist() == [1, 3, 3]


def test_checkpointing_and_training_mode(tiny_folder, tiny):
    models = load(PolicySpec(str(tiny_folder), gradient_checkpointing=True))
    assert torch.equal(draw((models.policy, models.reader), mixed(1)).ids_NT, draw(tiny, mixed(1)).ids_NT)
    models.policy.train()
    with pytest.raises(RuntimeError, match="rollout needs the policy in eval mode"):
        draw((models.policy, models.reader), mixed(1))


def test_nothing_of_the_released_generation_config_is_used(tiny, monkeypatch):
    # it holds a repetition penalty and a temperature near 0
    backbone, reader = tiny
    before = draw(tiny, mixed(1)).ids_NT
    monkeypatch.setattr(backbone.model, "generation_config", None)
    assert torch.equal(draw((backbone, reader), mixed(1)).ids_NT, before)
    assert len(draw(tiny, mixed(1), group=8).ids_NT[:, 0].unique()) > 1


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


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_not_sampled_from(backbone, bad):
    logits = torch.zeros(2, backbone.vocabulary.size)
    logits[1, 3] = bad
    with pytest.raises(FloatingPointError, match="the policy's logits are NaN or infinite"):
        sample(logits, torch.tensor([0.5, 0.5], dtype=torch.float64), 1.0, backbone.vocabulary)
