"""What a judge reads off its thoughts, against plain transformers on the same text."""

import pytest
import torch
from transformers import AutoModelForImageTextToText

from lit_listener.data.shown import ShownPair
from lit_listener.judging.judge import Judge
from lit_listener.judging.pictures import picture
from lit_listener.judging.thoughts import Showing, think
from lit_listener.vlm.specs import BUNDLED


@pytest.fixture(scope="module")
def cut_short() -> Judge:
    """A judge whose traces end in the middle."""
    return Judge.load("shapes", max_new_tokens=9)


@pytest.fixture(scope="module")
def plain():
    return AutoModelForImageTextToText.from_pretrained(BUNDLED["shapes"], dtype=torch.float32).eval()


def showings(pairs, rollouts: int = 1) -> list[Showing]:
    return [
        Showing(ShownPair(p, "a", index=0), (picture(p.image_a), picture(p.image_b)), rollouts, 0, listen=False)
        for p in pairs
    ]


def p_second_after(plain, judge: Judge, pair, text: str) -> float:
    """What transformers alone says of the labels after a text, one row, no cache, no packing."""
    reader = judge._thinker.reader
    batch = reader.encoder.encode([judge._thinker.task.encode(showings([pair])[0].shown)])
    written = reader.tokenizer.encode(text, add_special_tokens=False)
    ids = torch.cat([batch.input_ids_PS, torch.tensor([written])], 1)
    with torch.no_grad():
        logits = plain(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=(ids == plain.config.image_token_id).int(),
            pixel_values=batch.pixel_values_RC,
            image_grid_thw=batch.image_grid_I3,
        ).logits[0, -1]
    zero, one = (torch.stack([logits[i] for i in spelling]).logsumexp(0) for spelling in judge._thinker.label_ids)
    return float(torch.sigmoid(one - zero))


def test_a_trace_that_was_cut_off_is_closed_and_read(cut_short, plain, pairs):
    thoughts = think(cut_short._thinker, showings(pairs[:2], rollouts=2), 2, None)
    assert [len(each) for each in thoughts] == [2, 2]
    for pair, each in zip(pairs, thoughts, strict=False):
        for thought in each:
            assert thought.forced
            assert thought.transcript.answer is None
            closed = thought.transcript.text + "</think><answer>"
            assert thought.p_label[1] == pytest.approx(p_second_after(plain, cut_short, pair, closed), abs=1e-5)


@pytest.mark.slow
def test_an_answer_is_read_at_its_place(judge, plain, pairs):
    for pair, (thought,) in zip(pairs, think(judge._thinker, showings(pairs[:4]), 1, None), strict=False):
        before, _, after = thought.transcript.text.rpartition("<answer>")
        assert not thought.forced
        assert after in ("0</answer>", "1</answer>")
        assert thought.p_label[1] == pytest.approx(p_second_after(plain, judge, pair, before + "<answer>"), abs=1e-5)


def test_an_answer_whose_end_was_cut_is_read_all_the_same(judge, pairs):
    judge_whole = judge
    judge = Judge.load("shapes", max_new_tokens=44)  # a usual trace has 45 tokens
    triples = [(pair.prompt, pair.image_a, pair.image_b) for pair in pairs]
    limited_and_whole = (each.compare_many(triples, progress=False) for each in (judge, judge_whole))
    for limited, whole in zip(*limited_and_whole, strict=True):
        assert limited.p_a == pytest.approx(whole.p_a, abs=1e-5)  # the answer was there already: only its end is cut
        assert all(trace.outcome == "truncated" and not trace.forced for trace in limited.traces)


def test_nan_is_no_score(pairs):
    judge = Judge.load("shapes", max_new_tokens=9)
    head = judge._thinker.policy.model.lm_head.weight
    with torch.no_grad():
        head.data[judge._thinker.label_ids[0][0]] = float("nan")
    with pytest.raises(FloatingPointError, match="NaN"):
        judge.compare(pairs[0].prompt, pairs[0].image_a, pairs[0].image_b)
