"""Traces without their verdict sentences: what is heard, by whom, and what it costs."""

from dataclasses import replace

import pytest
import torch

from lit_listener.tasks import PairwisePreference
from lit_listener.vlm.listeners import (
    ModelListener,
    RandomListener,
    ReferenceListener,
    ShuffledListener,
    StrippedListener,
)
from lit_listener.vlm.loading import load_backbone
from lit_listener.vlm.specs import PolicySpec
from tests.vlm.listeners.heard_shapes import TASK, hearing, rescored_by, shown
from tests.vlm.listeners.saying import Saying

TEXTS = [
    "<think>first: red. second: blue. the first is better.</think><answer>0</answer>",
    "<think>the second is better.</think><answer>1</answer>",
    "<think>the first is better.</think>",
    "<think>first: red. second: blue.</think><answer>1</answer>",
]
LEFT = ["first: red. second: blue.", "", None, "first: red. second: blue."]


@pytest.fixture(scope="module")
def loaded():
    return load_backbone("shapes-instruct", PolicySpec("shapes-instruct"))


@pytest.fixture(scope="module")
def reader(loaded):
    return loaded[1]


def stripped(listener, reader):
    outer = StrippedListener(listener)
    outer.prepare(TASK, reader.tokenizer)
    return outer


def test_what_is_heard_has_no_verdict(reader):
    inner = Saying([0.1, 0.2, 0.3, 0.4])
    given = hearing(reader, shown(2), 2, TEXTS)
    said = stripped(inner, reader).hear(given)
    assert said.readable_N.tolist() == [True, True, False, True]
    assert said.p_label_NL[:, 1].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    (heard,) = inner.given
    assert [transcript.think for transcript in heard.transcripts] == LEFT
    texts = ["" if think is None else f"<think>{think}</think><answer>" for think in LEFT]
    assert [trace.decode() for trace in heard.trace_bytes] == texts
    assert [b"".join(reader.token_bytes(ids)).decode() for ids in heard.trace_ids] == texts
    places = [transcript.answer_token for transcript in heard.transcripts]
    assert places == [None if think is None else len(ids) for think, ids in zip(LEFT, heard.trace_ids, strict=True)]
    for ids, place, row in zip(heard.trace_ids, places, heard.completions.content_ids(), strict=True):
        assert row[:place] == ids or place is None
    assert heard.labels == given.labels
    assert heard.shown == given.shown


@pytest.mark.parametrize("context", ["own", "reasoner"])
@pytest.mark.parametrize("name", ["shapes-instruct", "shapes-witness"])
def test_a_model_hears_what_is_left_as_if_it_had_been_written_so(reader, name, context):
    written = [text.replace(" the first is better.", "").replace("the second is better.", "") for text in TEXTS]
    inner = ModelListener(name, context)
    said = stripped(inner, reader).hear(hearing(reader, shown(2), 2, TEXTS))
    expected = inner.hear(hearing(reader, shown(2), 2, written))
    readable = said.readable_N
    torch.testing.assert_close(said.p_label_NL[readable], expected.p_label_NL[readable], atol=1e-6, rtol=0)
    assert not torch.allclose(inner.hear(hearing(reader, shown(2), 2, TEXTS)).p_label_NL[0], said.p_label_NL[0])


def test_the_reference_reads_what_is_left_in_a_pass_of_its_own(reader):
    """Its word is that of the same model at hand, in the reasoner's context."""
    given = hearing(reader, shown(2), 2, TEXTS)
    model = ModelListener("shapes-instruct", "reasoner")
    expected = stripped(model, reader).hear(given)
    texts = []

    def rescore(written):
        texts.append(list(written))
        return rescored_by(model.backbone, reader, given.shown, written)

    outer = stripped(ReferenceListener(), reader)
    said = outer.hear(replace(given, rescore=rescore))
    assert texts == [["" if think is None else f"<think>{think}</think><answer>" for think in LEFT]]
    assert torch.equal(said.readable_N, expected.readable_N)
    readable = said.readable_N
    torch.testing.assert_close(said.p_label_NL[readable], expected.p_label_NL[readable], atol=1e-5, rtol=0)
    assert outer.metrics()["listener/stripped_pass_s"] > 0


def test_without_a_reference_to_ask_again_it_is_refused(reader):
    for listener in (ReferenceListener(), ShuffledListener()):
        with pytest.raises(ValueError, match="needs the reference to read again what is left of a trace"):
            stripped(listener, reader).hear(hearing(reader, shown(2), 2, TEXTS))


def test_what_costs_no_pass_tells_of_none(reader):
    assert stripped(Saying([0.1] * 4), reader).metrics() == {"saying/hearings": 0}


def test_in_evaluation():
    outer = StrippedListener(ModelListener("shapes-instruct"))
    assert outer.in_evaluation is outer
    assert isinstance(StrippedListener(RandomListener()).in_evaluation, ReferenceListener)


def test_who_reads_the_reference():
    assert StrippedListener(ReferenceListener()).reads_reference
    assert not StrippedListener(StrippedListener(ModelListener("shapes-instruct"))).reads_reference


def test_chat_tokens_spelled_out_are_text(reader):
    texts = ["<think>see <|image_pad|> and <|im_end|>. the first is better.</think><answer>0</answer>"]
    said = stripped(ModelListener("shapes-instruct", "reasoner"), reader).hear(hearing(reader, shown(1), 1, texts))
    assert said.readable_N.all()


def test_the_task_says_what_a_verdict_is(reader):
    class Loud(PairwisePreference):
        def strip_verdicts(self, trace):
            return trace.upper()

    inner = Saying([0.5])
    outer = StrippedListener(inner)
    outer.prepare(Loud(), reader.tokenizer)
    outer.hear(hearing(reader, shown(1), 1, ["<think>red</think><answer>0</answer>"]))
    assert inner.given[0].transcripts[0].think == "RED"
