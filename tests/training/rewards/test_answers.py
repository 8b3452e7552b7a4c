"""Rewards of answers: the listener's word for right ones alone, and what share of the people gave them."""

import pytest
import torch

from lit_listener.data.shown import ShownImage
from lit_listener.training.grpo_options import RewardWeights
from lit_listener.training.rewards import GatedListener, Listened, VoteShare, total_reward
from tests.training.rewards.judging import IMAGE, judged, pair, transcript


def test_the_listener_pays_for_right_answers_alone():
    # the right label is 0; the listener gives it 0.9, 0.9, 0.3 and, of what it cannot read, 0.9
    read = [transcript(answer=0), transcript(answer=1), transcript(answer=0), transcript(answer=None)]
    given = judged(read, p_second=[0.1, 0.1, 0.7, 0.1])
    torch.testing.assert_close(GatedListener()(given), torch.tensor([0.4, 0.0, 0.0, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(Listened()(given), torch.tensor([0.4, 0.4, 0.0, 0.0]), atol=1e-6, rtol=0)


def test_it_stands_in_for_the_built_in_term():
    terms = RewardWeights(accuracy=0.5, listener=0.0).terms({"gated": GatedListener(0.5)})
    rewards = total_reward(terms, judged([transcript(answer=0), transcript(answer=1)], p_second=[0.1, 0.1]))
    # format 1 each; accuracy 0.5 and the listener's 0.5 x 0.4 for the right one alone
    torch.testing.assert_close(rewards.total_N, torch.tensor([1.7, 1.0]), atol=1e-6, rtol=0)


def test_the_share_of_votes_in_both_display_orders():
    shown = [pair(0.7, "a"), pair(0.7, "a"), pair(0.7, "b"), pair(0.7, "b"), pair(0.7, "a")]
    read = [transcript(answer=answer) for answer in (0, 1, 0, 1, None)]
    values = VoteShare()(judged(read, shown))
    torch.testing.assert_close(values, torch.tensor([0.7, 0.3, 0.3, 0.7, 0.0]))


def test_unanimous_votes_are_accuracy():
    shown = [pair(share, first) for share in (0.0, 1.0) for first in ("a", "b") for _ in range(2)]
    read = [transcript(answer=n % 2) for n in range(8)]
    given = judged(read, shown)
    assert VoteShare()(given).tolist() == given.task.accuracy_reward(read, shown)


def test_what_is_no_pair_has_no_votes():
    alone = ShownImage("a cat", IMAGE, "rating 1", 0, share=0.5)
    with pytest.raises(TypeError, match="VoteShare is about pairs of images, got rating 1"):
        VoteShare()(judged([transcript()], [alone]))  # type: ignore[list-item]
