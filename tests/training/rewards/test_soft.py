"""The rewards of rating judges, and the soft scalar reward of any task, by hand."""

from dataclasses import replace

import pytest
import torch

from lit_listener.data.shown import ShownImage
from lit_listener.tasks import AbsoluteRating, Outcome, Transcript
from lit_listener.training.grpo_options import RewardWeights
from lit_listener.training.rewards import ApproximateMatch, Judged, SoftScore, total_reward
from lit_listener.vlm.listeners import Heard
from tests.tasks.test_pairwise import RED
from tests.training.rewards.test_term import judged as judged_pair

IMAGE = ShownImage("p", RED, "rating r", 0, share=0.5)  # rating 2 of 3


def judged(answers: list[int | None], own: list[list[float]], heard: list[list[float]]) -> Judged:
    """Completions about an image that people rate 2 on a scale of 3; an answer of None has no place either."""
    count = len(answers)
    return Judged(
        task=AbsoluteRating(ratings=3),
        shown=[IMAGE] * count,
        transcripts=[
            Transcript("", Outcome.OK if answer is not None else Outcome.NO_ANSWER, "", answer, answer and 0)
            for answer in answers
        ],
        heard=Heard(torch.tensor(heard), torch.tensor([a is not None for a in answers]), torch.zeros(count)),
        own_p_label_NL=torch.tensor(own),
        lengths_N=torch.ones(count, dtype=torch.long),
        truncated_N=torch.zeros(count, dtype=torch.bool),
        max_new_tokens=8,
        step=0,
    )


OWN = [[0.0, 0.5, 0.5], [0.2, 0.8, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
HEARD = [[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
ANSWERS = [1, 1, 2, None]


def test_soft_scores_of_ratings_by_hand():
    # expected ratings 0.75, 0.4 and 1 against 0.5; the last completion has no place to read them at
    values = SoftScore()(judged(ANSWERS, OWN, HEARD))
    torch.testing.assert_close(values, torch.tensor([0.75, 0.9, 0.5, 0.0]), atol=1e-6, rtol=0)


def test_soft_scores_of_pairs_are_p_of_the_right_image():
    of_pair = judged_pair([1, 0, None], [0.5, 0.5, 0.5])
    of_pair = replace(of_pair, own_p_label_NL=torch.tensor([[0.1, 0.9], [0.7, 0.3], [0.0, 1.0]]))
    torch.testing.assert_close(SoftScore()(of_pair), torch.tensor([0.9, 0.3, 0.0]), atol=1e-6, rtol=0)


def test_no_gradient_flows_through_a_soft_score():
    own_NL = torch.tensor(OWN, requires_grad=True)
    values = SoftScore()(replace(judged(ANSWERS, OWN, HEARD), own_p_label_NL=own_NL))
    assert not values.requires_grad


def test_unreadable_rows_may_hold_anything():
    own = [*OWN[:3], [float("nan")] * 3]
    assert SoftScore()(judged(ANSWERS, own, HEARD)).tolist() == pytest.approx([0.75, 0.9, 0.5, 0.0])


def test_approximate_match_by_hand():
    assert ApproximateMatch()(judged(ANSWERS, OWN, HEARD)).tolist() == [1.0, 1.0, 0.75, 0.0]
    with pytest.raises(ValueError, match=r"ApproximateMatch is for ratings .*, got PairwisePreference as model\.task"):
        ApproximateMatch()(judged_pair([1], [0.5]))


def test_the_papers_three_rewards_the_soft_one_and_the_listener_add_up():
    further = {"approximate": ApproximateMatch(), "soft": SoftScore()}
    rewards = total_reward(RewardWeights(accuracy=1.0, listener=0.5).terms(further), judged(ANSWERS, OWN, HEARD))
    assert rewards.names == ("format", "accuracy", "listener", "approximate", "soft")
    # the listener agrees by 1, 1 and 0.5: rewards 0.5, 0.5 and 0, at half weight
    expected = [1 + 1 + 0.25 + 1 + 0.75, 1 + 1 + 0.25 + 1 + 0.9, 1 + 0 + 0 + 0.75 + 0.5, 0.0]
    assert rewards.total_N.tolist() == pytest.approx(expected)


def test_an_image_that_nobody_rated_is_refused():
    with pytest.raises(ValueError, match=r"rating r has no rating by people, so no answer about it is right"):
        AbsoluteRating().refuse_undecided(replace(IMAGE, share=None))
    AbsoluteRating().refuse_undecided(IMAGE)


def test_a_soft_score_does_not_ask_whether_a_listener_heard():
    deaf = judged(ANSWERS, OWN, HEARD)
    deaf = replace(deaf, heard=replace(deaf.heard, readable_N=torch.zeros(len(ANSWERS), dtype=torch.bool)))
    assert SoftScore()(deaf).tolist() == SoftScore()(judged(ANSWERS, OWN, HEARD)).tolist()
    assert max(SoftScore()(deaf).tolist()) > 0
