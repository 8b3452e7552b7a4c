"""The form of pairs with a task that shows pairs in a way of its own."""

import pytest
from PIL import Image

from lit_listener.data.shown import ShownList, ShownPair
from lit_listener.judging.forms import PairForm, form_of
from lit_listener.judging.requests import CompareRequest
from lit_listener.judging.thoughts import Thought
from lit_listener.tasks import Listwise, PairwisePreference
from lit_listener.tasks.transcript import Outcome, Transcript

A, B = (Image.new("RGB", (2, 2), colour) for colour in ("red", "green"))


def test_pairs_are_shown_as_the_task_shows_them():
    plain = CompareRequest("p", A, B).plan(form_of(PairwisePreference()))
    assert all(isinstance(showing.shown, ShownPair) for showing in plan_showings(plain))
    listed = CompareRequest("p", A, B).plan(form_of(Listwise(labels=("1", "2", "3"))))
    assert all(isinstance(showing.shown, ShownList) for showing in plan_showings(listed))
    assert [each.getpixel((0, 0)) for each in listed.showings[1].shown.images] == [(0, 128, 0), (255, 0, 0)]


def plan_showings(plan):
    assert len(plan.showings) == 2
    return plan.showings


def test_a_lists_labels_become_a_probability_by_luces_axiom():
    plan = CompareRequest("p", A, B, both_orders=False).plan(PairForm(Listwise(labels=("1", "2", "3"))))
    said = plan.conclude(
        [[Thought(Transcript("", Outcome.OK, "", 1, 0), (0.2, 0.3, 0.5), False, False, 4, listener_p_label=None)]]
    )
    assert said.p_a == pytest.approx(0.2 / 0.5)  # the third label's image is not shown
    assert said.traces[0].answer == "b"
