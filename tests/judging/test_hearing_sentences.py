"""A bundled judge's listener hears traces sentence by sentence: identities, and the same found in other ways."""

import pytest

from lit_listener.judging import hearing_sentences
from lit_listener.judging.judge import Judge
from lit_listener.judging.listening import Ear
from lit_listener.judging.traces import Trace
from lit_listener.vlm.listeners import ListenerFailedError, ModelListener, NoListener, StrippedListener

THOROUGH = "first: one yes red yes circle yes, crisp, 3 fit. second: one yes blue no circle yes, faded, 2 fit."
CONTRADICTING = f"{THOROUGH} the second is better."
ALIKE = {"abs": 1e-5}


@pytest.fixture(scope="module")
def asked(pairs):
    pair = pairs[0]
    return pair.prompt, pair.image_a, pair.image_b


@pytest.fixture(scope="module")
def compared(judge, asked):
    return judge.compare(*asked, rollouts=2, listen=True)


def listening(judge, monkeypatch, listener):
    listener.prepare(judge._thinker.task, judge._thinker.reader.tokenizer)
    monkeypatch.setattr(judge, "_make_ear", lambda: Ear(listener))
    monkeypatch.setattr(judge, "_ear", None)


def test_a_whole_trace_is_heard_as_it_is_in_a_comparison(judge, asked, compared):
    for trace in compared.traces:  # in both display orders
        heat = judge.heat(*asked, trace)
        assert heat.thinking == trace.thinking
        assert heat.p_end == pytest.approx(trace.listener_p_a, **ALIKE)
        gains = [sentence.gain for sentence in heat.sentences]
        assert sum(gains) == pytest.approx(heat.p_end - heat.p_start, abs=1e-9)
        assert max(map(abs, gains)) > 0.05
        assert [trace.thinking[each.start : each.end] for each in heat.sentences] == [
            each.text for each in heat.sentences
        ]
        of_b = judge.heat(*asked, trace, of="b")
        assert [each.gain for each in of_b.sentences] == pytest.approx([-gain for gain in gains], **ALIKE)
        assert of_b.p_end == pytest.approx(1 - heat.p_end, **ALIKE)


def test_a_sentence_is_worth_what_the_texts_with_and_without_it_differ(judge, asked):
    """Each number again, from a call of its own about that text alone."""
    heat = judge.heat(*asked, CONTRADICTING, leave_one_out=True)
    one, two, three = (sentence.text for sentence in heat.sentences)
    alone = [judge.heat(*asked, text).p_end for text in ("", one, f"{one} {two}", CONTRADICTING)]
    assert [heat.p_start, *(sentence.p_after for sentence in heat.sentences)] == pytest.approx(alone, **ALIKE)
    assert [sentence.p_before for sentence in heat.sentences] == pytest.approx(alone[:-1], **ALIKE)
    without = [judge.heat(*asked, text).p_end for text in (f"{two} {three}", f"{one} {three}", f"{one} {two}")]
    missed = [sentence.missed for sentence in heat.sentences]
    assert missed == pytest.approx([heat.p_end - p for p in without], **ALIKE)
    assert heat.sentences[2].missed == pytest.approx(heat.sentences[2].gain, **ALIKE)  # the last one: the same texts


def test_the_verdict_turns_the_listener_round_and_stripped_thoughts_end_before_it(judge, asked, monkeypatch):
    heat = judge.heat(*asked, CONTRADICTING)
    assert heat.hottest is heat.sentences[2]
    assert heat.sentences[2].gain < -0.5  # towards the second image, which is B
    assert judge.heat(*asked, THOROUGH + " the first is better.").p_end > 0.5
    listening(judge, monkeypatch, StrippedListener(ModelListener("shapes-instruct", "reasoner")))
    stripped = judge.heat(*asked, CONTRADICTING)
    assert stripped.p_end == pytest.approx(heat.sentences[1].p_after, **ALIKE)
    assert stripped.sentences[2].gain == pytest.approx(0, **ALIKE)
    assert stripped.sentences[1].gain == pytest.approx(heat.sentences[1].gain, **ALIKE)


def test_every_listener_that_has_a_question_of_its_own_hears_it_too(judge, asked, compared, monkeypatch):
    listening(judge, monkeypatch, ModelListener("shapes-instruct", "own"))
    trace = judge.compare(*asked, both_orders=False, listen=True).traces[0]
    heat = judge.heat(*asked, trace)
    assert heat.p_end == pytest.approx(trace.listener_p_a, **ALIKE)
    assert heat.p_end != pytest.approx(compared.traces[0].listener_p_a, abs=1e-4)
    assert heat.p_start != pytest.approx(heat.p_end, abs=1e-4)


def test_one_sentence_and_none(judge, asked):
    one = judge.heat(*asked, "the first is better.", leave_one_out=True)
    (sentence,) = one.sentences
    assert (one.p_start, one.p_end) == (sentence.p_before, sentence.p_after)
    assert sentence.missed == pytest.approx(sentence.gain, **ALIKE)
    none = judge.heat(*asked, "", leave_one_out=True)
    assert none.sentences == ()
    assert none.p_start == none.p_end == pytest.approx(one.p_start, **ALIKE)


def test_a_trace_without_an_answer_is_closed_as_in_a_comparison(asked, monkeypatch):
    short = Judge.load("shapes", max_new_tokens=14)  # cut off in the first sentence, or in the second
    for trace in short.compare(*asked, listen=True).traces:
        assert trace.forced
        heat = short.heat(*asked, trace)
        assert heat.p_end == pytest.approx(trace.listener_p_a, **ALIKE)
        assert heat.sentences
    outside = Trace("a", 0, "the first is better.", "", None, 0.5, True, "no_answer", False, 6)  # no think block
    assert short.heat(*asked, outside).sentences == ()


def test_the_cut_into_passes_changes_nothing(judge, asked, monkeypatch):
    whole = judge.heat(*asked, CONTRADICTING, leave_one_out=True)
    monkeypatch.setattr(hearing_sentences, "TOKENS_PER_PASS", 1)
    each_alone = judge.heat(*asked, CONTRADICTING, leave_one_out=True)
    for one, other in zip(whole.sentences, each_alone.sentences, strict=True):
        assert (one.p_after, one.missed) == pytest.approx((other.p_after, other.missed), **ALIKE)


def test_one_pass_hears_all(judge, asked, monkeypatch):
    """The prompt and its images are read once, whatever the number of sentences."""
    judge.preload_listener()
    backbone, packed = judge._ear.listener.backbone, []
    score = backbone.score
    monkeypatch.setattr(
        backbone, "score", lambda batch, *args, **reads: packed.append(batch) or score(batch, *args, **reads)
    )
    judge.heat(*asked, CONTRADICTING, leave_one_out=True)
    (batch,) = packed
    assert (len(batch.prompt_mask_PS), len(batch.source_NT)) == (1, 7)  # 0 to 3 sentences, and without each of them


def test_what_cannot_be_heard_is_no_number(judge, asked, monkeypatch):
    with pytest.raises(
        TypeError, match=r"trace: expected one trace or a text, got Comparison; .*comparison\.traces\[0\]"
    ):
        judge.heat(*asked, judge.compare(*asked))
    with pytest.raises(ValueError, match='of: expected the image that is meant, "a" or "b", got \'c\''):
        judge.heat(*asked, CONTRADICTING, of="c")
    with pytest.raises(ValueError, match="prompt: expected the text that the images were made from"):
        judge.heat("", *asked[1:], CONTRADICTING)
    listening(judge, monkeypatch, NoListener())
    with pytest.raises(ListenerFailedError, match="the listener names no label after 4 of 4 traces"):
        judge.heat(*asked, CONTRADICTING)
    monkeypatch.setattr(judge, "_make_ear", None)
    with pytest.raises(ValueError, match="no listener is known of shapes"):
        judge.heat(*asked, CONTRADICTING)


def test_a_judge_that_rates_images_has_no_trace_about_two(asked):
    with pytest.raises(ValueError, match="heat: expected a judge that compares two images at once; this one rates"):
        Judge.load("shapes-rater").heat(*asked, CONTRADICTING)
