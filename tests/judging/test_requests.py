"""How requests come down to displayed pairs, and what is made of the thoughts about them: by hand-worked numbers."""

import pytest
from PIL import Image

from lit_listener.judging.forms import PairForm
from lit_listener.judging.requests import CompareRequest, RankRequest
from lit_listener.judging.results import Comparison, Ranking
from lit_listener.judging.thoughts import Thought
from lit_listener.tasks import PairwisePreference
from lit_listener.tasks.transcript import Outcome, Transcript

FORM = PairForm(PairwisePreference())
A, B, C = (Image.new("RGB", (2, 2), colour) for colour in ("red", "green", "blue"))


def thought(p_second: float, answer: int | None = None, listener: float | None = None) -> Thought:
    transcript = Transcript("<think>t</think>", Outcome.OK, "t", answer, 3)
    heard = None if listener is None else (1 - listener, listener)
    return Thought(transcript, (1 - p_second, p_second), False, False, tokens=5, listener_p_label=heard)


def displayed(request) -> list[tuple[Image.Image, Image.Image]]:
    return [tuple(each.image for each in showing.pictures) for showing in request.plan(FORM).showings]


def colours(request) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [tuple(image.getpixel((0, 0)) for image in shown) for shown in displayed(request)]


def test_both_orders_are_averaged():
    plan = CompareRequest("p", A, B, rollouts=2).plan(FORM)
    # A first: the second, B, has 0.2 and 0.4, so A has 0.8 and 0.6. B first: the second, A, has 0.9 and 0.7.
    said = plan.conclude([[thought(0.2, 0, 0.1), thought(0.4, 1)], [thought(0.9, 1, 0.5), thought(0.7, None)]])
    assert said.p_a == pytest.approx((0.8 + 0.6 + 0.9 + 0.7) / 4)
    assert [trace.p_a for trace in said.traces] == pytest.approx([0.8, 0.6, 0.9, 0.7])
    assert [(trace.first, trace.rollout) for trace in said.traces] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert [trace.answer for trace in said.traces] == ["a", "b", "a", None]
    assert said.listener_p_a == pytest.approx((0.9 + 0.5) / 2)
    assert (said.preferred, said.flipped) == ("a", False)


def test_one_order_is_shown_once():
    request = CompareRequest("p", A, B, both_orders=False)
    assert colours(request) == [((255, 0, 0), (0, 128, 0))]
    said = request.plan(FORM).conclude([[thought(0.75)]])
    assert (said.p_a, said.preferred, said.flipped, said.listener_p_a) == (0.25, "b", None, None)


def test_orders_that_disagree_are_told():
    said = CompareRequest("p", A, B).plan(FORM).conclude([[thought(0.9)], [thought(0.9)]])
    assert (said.p_a, said.preferred, said.flipped) == (pytest.approx(0.5), said.preferred, True)
    level = CompareRequest("p", A, B).plan(FORM).conclude([[thought(0.5)], [thought(0.5)]])
    assert (level.p_a, level.preferred, level.flipped) == (0.5, None, False)


def test_every_image_is_compared_with_the_anchor_alone():
    request = RankRequest("p", [A, B, C], anchor=1)
    assert colours(request) == [
        ((255, 0, 0), (0, 128, 0)),
        ((0, 128, 0), (255, 0, 0)),
        ((0, 0, 255), (0, 128, 0)),
        ((0, 128, 0), (0, 0, 255)),
    ]
    ranking = request.plan(FORM).conclude([[thought(0.4)], [thought(0.2)], [thought(0.1)], [thought(0.7)]])
    # A: (0.6 + 0.2) / 2 = 0.4. C: (0.9 + 0.7) / 2 = 0.8. The anchor, B: 0.5.
    assert ranking.scores == pytest.approx((0.4, 0.5, 0.8))
    assert (ranking.order, ranking.ranks, ranking.anchor) == ((2, 1, 0), (3, 2, 1), 1)
    assert [len(traces) for traces in ranking.traces] == [2, 0, 2]
    assert ranking.comparisons[1] is None


def test_an_anchor_from_outside_is_compared_with_all():
    request = RankRequest("p", [A, B], anchor=C, both_orders=False)
    assert colours(request) == [((255, 0, 0), (0, 0, 255)), ((0, 128, 0), (0, 0, 255))]
    ranking = request.plan(FORM).conclude([[thought(0.5)], [thought(0.5)]])
    assert (ranking.scores, ranking.order, ranking.anchor) == ((0.5, 0.5), (0, 1), None)


def test_an_image_that_is_the_given_anchor_takes_no_thought():
    plan = RankRequest("p", [A], anchor=A.copy()).plan(FORM)
    assert plan.showings == []
    assert plan.conclude([]).scores == (0.5,)


def test_results_come_back_from_their_dicts():
    compared = CompareRequest("p", A, B, rollouts=2, seed=4).plan(FORM)
    said = compared.conclude([[thought(0.2, 0, 0.1), thought(0.4, 1)], [thought(0.9, 1), thought(0.7)]])
    assert Comparison.from_dict(said.to_dict()) == said
    ranked = RankRequest("p", [A, B, C], anchor=1).plan(FORM)
    ranking = ranked.conclude([[thought(0.4)], [thought(0.2)], [thought(0.1)], [thought(0.7)]])
    assert Ranking.from_dict(ranking.to_dict()) == ranking
    assert ranking.to_dict()["comparisons"][1] is None


def test_streams_are_keyed_by_what_is_displayed_and_the_seed():
    def keys(request) -> list[object]:
        return [showing.key for showing in request.plan(FORM).showings]

    assert keys(CompareRequest("p", A, B)) == keys(CompareRequest("p", B, A))[::-1]
    different = [CompareRequest("p", A, B, seed=1), CompareRequest("q", A, B), CompareRequest("p", A, C)]
    found = [key for request in [CompareRequest("p", A, B), *different] for key in keys(request)]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (CompareRequest("", A, B), ValueError, "prompt: expected the text"),
        (CompareRequest(" \n", A, B), ValueError, "prompt: expected the text"),
        (CompareRequest(None, A, B), TypeError, "prompt: expected a text, got NoneType"),
        (CompareRequest("p", A, B, rollouts=0), ValueError, "rollouts: expected at least 1, got 0"),
        (CompareRequest("p", A, B, rollouts=1.5), TypeError, "rollouts: expected a whole number, got 1.5"),
        (CompareRequest("p", A, B, seed="x"), TypeError, "seed: expected a whole number, got 'x'"),
        (RankRequest("p", A), TypeError, "images: expected a list of images, got one Image"),
        (RankRequest("p", "a.png"), TypeError, "expected a list of images, got one str"),
        (RankRequest("p", []), ValueError, "at least one image, got none"),
        (RankRequest("p", [A, "nowhere.png"]), FileNotFoundError, "nowhere.png"),
    ],
)
def test_what_cannot_be_answered_is_refused(request_, error, message):
    with pytest.raises(error, match=message):
        request_.plan(FORM)
