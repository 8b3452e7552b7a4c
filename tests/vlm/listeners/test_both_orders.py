"""Each trace heard in both display orders: whose words are changed, and how the words are joined."""

import math
from dataclasses import replace

import pytest
import torch

from lit_listener.data.shown import ShownPair
from lit_listener.vlm.listeners import (
    BothOrdersListener,
    ModelListener,
    RandomListener,
    ReferenceListener,
    StrippedListener,
)
from lit_listener.vlm.loading import load_backbone
from lit_listener.vlm.specs import PolicySpec
from tests.vlm.listeners.heard_shapes import TASK, WRITE, hearing, shown
from tests.vlm.listeners.saying import Saying

TEXTS = [
    "<think>first: red. second: blue. the first is better.</think><answer>0</answer>",
    "<think>the second circle is better.</think><answer>1</answer>",  # of which image?
    "<think>the first is better.</think>",
    "<think>both are red.</think><answer>1</answer>",
]


@pytest.fixture(scope="module")
def reader():
    return load_backbone("shapes-instruct", PolicySpec("shapes-instruct"))[1]


def both(listener, reader):
    outer = BothOrdersListener(listener)
    outer.prepare(TASK, reader.tokenizer)
    return outer


def test_the_mean_of_both_orders(reader):
    # p(second), and with the images changed over p(first) in its place:
    # (0.2 + (1 - 0.6)) / 2 = 0.3; the second trace is heard in its own order alone, 0.9; (0.5 + (1 - 0.1)) / 2 = 0.7
    inner = Saying([0.2, 0.9, 0.0, 0.5], [0.6, 0.3, 0.0, 0.1], discarded=[0.1, 0.2, 0.0, 0.3])
    outer = both(inner, reader)
    said = outer.hear(hearing(reader, shown(2), 2, TEXTS))
    assert said.readable_N.tolist() == [True, True, False, True]
    assert said.p_label_NL[[0, 1, 3], 1].tolist() == pytest.approx([0.3, 0.9, 0.7])
    assert said.p_label_NL.sum(1).tolist() == pytest.approx([1] * 4)
    assert said.discarded_mass_N[[0, 1, 3]].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert outer.metrics() == {"saying/hearings": 2, "listener/one_order_share": pytest.approx(1 / 3)}


def test_the_second_hearing_is_of_the_other_order(reader):
    inner = Saying([0.5] * 4)
    given = hearing(reader, shown(2), 2, TEXTS)
    both(inner, reader).hear(given)
    own, other = inner.given
    assert own is given
    assert [transcript.think for transcript in other.transcripts] == [
        "second: red. first: blue. the second is better.",
        None,
        None,
        "both are red.",
    ]
    assert other.readable_N.tolist() == [True, False, False, True]
    assert other.labels == [1 - label for label in given.labels]
    for one, turned in zip(given.shown, other.shown, strict=True):
        assert turned.images == one.images[::-1]
        assert turned.label == 1 - one.label
    assert other.trace_bytes[0] == b"<think>second: red. first: blue. the second is better.</think><answer>"


def test_what_the_other_order_leaves_unheard_is_heard_in_its_own(reader):
    said = both(Saying([0.2, 0.9, 0.0, 0.5], [None, 0.3, 0.0, 0.1]), reader).hear(hearing(reader, shown(2), 2, TEXTS))
    assert said.readable_N.tolist() == [True, True, False, True]
    assert said.p_label_NL[[0, 1, 3], 1].tolist() == pytest.approx([0.2, 0.9, 0.7])


@pytest.mark.parametrize("context", ["own", "reasoner"])
def test_a_model_says_the_same_whichever_order_is_shown(reader, context):
    """The mean of both orders is symmetric: what is shown the other way round gives the other labels' probabilities."""
    pairs = shown(4)
    texts = [TASK.write(WRITE(pair)) for pair in pairs]
    turned = [replace(pair, first="b" if pair.first == "a" else "a") for pair in pairs]
    swapped = [f"{TASK.opening(TASK.swap_images(_think(text)))}0</answer>" for text in texts]
    outer = both(ModelListener("shapes-instruct", context), reader)
    one = outer.hear(hearing(reader, pairs, 1, texts))
    other = outer.hear(hearing(reader, turned, 1, swapped))
    torch.testing.assert_close(one.p_label_NL, other.p_label_NL.flip(1), atol=1e-5, rtol=0)
    alone = outer.listener.hear(hearing(reader, pairs, 1, texts))
    assert not torch.allclose(alone.p_label_NL, one.p_label_NL, atol=1e-4)
    assert outer.metrics()["listener/one_order_share"] == 0


def _think(text):
    return text.removeprefix("<think>").partition("</think>")[0]


def test_ties_have_no_right_label_in_either_order(reader):
    inner = Saying([0.5] * 4)
    both(inner, reader).hear(hearing(reader, shown(2), 2, TEXTS, labels=[None, 1]))
    assert inner.given[1].labels == [None, 0]


def test_the_reference_has_read_one_order_alone():
    for listener in (ReferenceListener(), StrippedListener(ReferenceListener())):
        with pytest.raises(ValueError, match="BothOrdersListener needs a listener with a model of its own"):
            BothOrdersListener(listener)


def test_a_task_that_does_not_know_how_images_are_named_is_refused(reader):
    class Nameless:
        labels = ("0", "1")

    with pytest.raises(ValueError, match=r"task that can change images' names over in a trace.*Nameless cannot"):
        BothOrdersListener(Saying([0.5])).prepare(Nameless(), reader.tokenizer)


def test_what_is_no_pair_is_refused(reader):
    class Single:
        name = "image 3"

    given = hearing(reader, shown(2), 2, TEXTS)
    with pytest.raises(ValueError, match="hears of pairs alone, got image 3"):
        both(Saying([0.5] * 4), reader).hear(replace(given, shown=[Single(), Single()]))


def test_nothing_readable_is_heard_as_nothing(reader):
    outer = both(ModelListener("shapes-instruct"), reader)
    said = outer.hear(hearing(reader, shown(2), 2, ["<think>red</think>"] * 4))
    assert not said.readable_N.any()
    assert math.isnan(outer.metrics()["listener/one_order_share"])


def test_in_evaluation():
    outer = BothOrdersListener(ModelListener("shapes-instruct"))
    assert outer.in_evaluation is outer
    assert isinstance(BothOrdersListener(RandomListener()).in_evaluation, ReferenceListener)


def test_wrappers_go_into_one_another(reader):
    """Arguments alone, in both orders."""
    inner = Saying([0.2], [0.6])
    outer = StrippedListener(BothOrdersListener(inner))
    outer.prepare(TASK, reader.tokenizer)
    said = outer.hear(hearing(reader, [ShownPair(shown(1)[0].pair, "a", 0)], 1, TEXTS[:1]))
    assert said.p_label_NL[0, 1].item() == pytest.approx(0.3)
    assert [each.transcripts[0].think for each in inner.given] == [
        "first: red. second: blue.",
        "second: red. first: blue.",
    ]
