import pytest

from lit_listener.data.demonstrators import AnswerOnly
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import PairwisePreference


@pytest.mark.parametrize(("share_a", "first", "answer"), [(0.8, "a", 0), (0.8, "b", 1), (0.2, "a", 1), (0.2, "b", 0)])
def test_the_preferred_image_is_the_answer_after_the_fixed_thought(make_pair, share_a, first, answer):
    shown = ShownPair(make_pair(share_a), first, 0)
    demonstration = AnswerOnly()(shown)
    assert demonstration.shown is shown
    written = PairwisePreference().write(demonstration)
    assert written == f"<think>I have finished thinking.</think><answer>{answer}</answer>"


def test_the_thought_can_be_another(make_pair):
    assert AnswerOnly(trace="Hm.")(ShownPair(make_pair(), "a", 0)).trace == "Hm."


def test_a_tie_has_no_answer_to_demonstrate(make_pair):
    with pytest.raises(ValueError, match=r"pair p7 is a tie: .*drop ties"):
        AnswerOnly()(ShownPair(make_pair(0.5, pair_id="p7"), "a", 0))
