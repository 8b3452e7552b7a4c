"""A judge's listener: whoever it is, and what becomes of thoughts that it cannot hear."""

import pytest

from lit_listener.data.shapes import ShapesPairs
from lit_listener.judging.judge import Judge
from lit_listener.judging.listening import Ear
from lit_listener.vlm.listeners import (
    EnsembleListener,
    ListenerFailedError,
    ModelListener,
    NoListener,
    ReferenceListener,
    StrippedListener,
)
from lit_listener.vlm.loading import load
from lit_listener.vlm.specs import PolicySpec

PAIR = ShapesPairs(["flat"], 4, "test")[0]


@pytest.fixture(scope="module")
def judge():
    return Judge.load("shapes")


def heard(judge, monkeypatch, listener, reference=None):
    """The listener's p(a) of each trace."""
    listener.prepare(judge._thinker.task, judge._thinker.reader.tokenizer)
    monkeypatch.setattr(judge, "_make_ear", lambda: Ear(listener, reference))
    monkeypatch.setattr(judge, "_ear", None)
    traces = judge.compare(PAIR.prompt, PAIR.image_a, PAIR.image_b, rollouts=2, listen=True).traces
    return [trace.listener_p_a for trace in traces]


def test_thoughts_that_are_not_heard_are_no_numbers(judge, monkeypatch):
    with pytest.raises(ListenerFailedError, match="the listener names no label after 4 of 4 traces"):
        heard(judge, monkeypatch, NoListener())


def test_the_reference_reads_stripped_thoughts_too(judge, monkeypatch):
    """Its word is that of the same model at hand."""
    reference = load(PolicySpec("shapes-blank", start="shapes-instruct"), "start").reference
    by_reference = heard(judge, monkeypatch, StrippedListener(ReferenceListener()), reference)
    at_hand = heard(judge, monkeypatch, StrippedListener(ModelListener("shapes-instruct", "reasoner")))
    whole = heard(judge, monkeypatch, ReferenceListener(), reference)
    assert by_reference == pytest.approx(at_hand, abs=1e-4)
    assert by_reference != pytest.approx(whole, abs=1e-4)


def test_several_listen(judge, monkeypatch):
    members = [ModelListener("shapes-instruct", "reasoner"), ModelListener("shapes-witness", "reasoner")]
    alone = [heard(judge, monkeypatch, member) for member in members]
    together = heard(judge, monkeypatch, EnsembleListener(members))
    assert together == pytest.approx([(a + b) / 2 for a, b in zip(*alone, strict=True)], abs=1e-5)
