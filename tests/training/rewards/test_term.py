import pytest
import torch
from torch import Tensor

from lit_listener.data.records import PreferencePair
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import Outcome, PairwisePreference, Transcript
from lit_listener.training.grpo_options import RewardWeights
from lit_listener.training.rewards import Judged, RewardTerm, total_reward
from lit_listener.vlm.listeners import Heard
from tests.tasks.test_pairwise import BLUE, RED

SECOND = ShownPair(PreferencePair("p", RED, BLUE, 0.2, 5, "pair", "p"), "a", 0)  # the second one shown is preferred


def judged(answers: list[int | None], p_second: list[float], outcomes: list[Outcome] | None = None) -> Judged:
    """Completions about a pair whose second image is preferred; an answer of None has no place either."""
    count, second_N = len(answers), torch.tensor(p_second)
    read = [
        Transcript("", outcome, "", answer, None if answer is None else 0)
        for answer, outcome in zip(answers, outcomes or [Outcome.OK] * count, strict=True)
    ]
    return Judged(
        task=PairwisePreference(),
        shown=[SECOND] * count,
        transcripts=read,
        heard=Heard(
            torch.stack([1 - second_N, second_N], 1),
            torch.tensor([answer is not None for answer in answers]),
            torch.zeros(count),
        ),
        own_p_label_NL=torch.full((count, 2), 0.5),
        lengths_N=torch.ones(count, dtype=torch.long),
        truncated_N=torch.zeros(count, dtype=torch.bool),
        max_new_tokens=8,
        step=0,
    )


class Answers(RewardTerm):
    def __call__(self, judged: Judged) -> Tensor:
        return torch.tensor([float(t.answer is not None) for t in judged.transcripts])


def test_the_papers_terms_are_equation_5():
    outcomes = [Outcome.OK, Outcome.OK, Outcome.TRAILING_TEXT, Outcome.NO_ANSWER]
    rewards = total_reward(RewardWeights().terms({}), judged([1, 0, 1, None], [0.9, 0.7, 0.2, 0.9], outcomes))
    assert rewards.names == ("format", "accuracy", "listener")
    # rows: 1 + 0.5 + 0.5 x 0.4; 1 + 0 + 0.5 x 0.2; 0 + 0.5 + 0; nothing, though the listener's number is high
    torch.testing.assert_close(rewards.total_N, torch.tensor([1.7, 1.1, 0.5, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(rewards["listener"], torch.tensor([0.4, 0.2, 0.0, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(rewards.p_correct_N, torch.tensor([0.9, 0.7, 0.2, 0.9]))


def test_a_further_term_is_added_with_its_weight():
    terms = RewardWeights(accuracy=0.0, listener=0.0).terms({"answers": Answers(0.25)})
    rewards = total_reward(terms, judged([1, None], [0.5, 0.5], [Outcome.NO_THINK, Outcome.NO_ANSWER]))
    assert rewards.names == ("format", "accuracy", "listener", "answers")
    assert rewards.total_N.tolist() == [0.25, 0.0]
    assert rewards["answers"].tolist() == [1.0, 0.0]


def test_a_term_gives_a_number_for_each_completion():
    class Short(Answers):
        def __call__(self, judged: Judged) -> Tensor:
            return super().__call__(judged)[:1]

    with pytest.raises(
        ValueError, match=r"'short' must give one number for each of 2 completions, got the shape \[1\]"
    ):
        total_reward({"short": Short()}, judged([1, 0], [0.5, 0.5]))


def test_names_and_weights_are_checked():
    with pytest.raises(ValueError, match=r"model\.reward_terms: there is a term 'listener' already"):
        RewardWeights().terms({"listener": Answers()})
    with pytest.raises(ValueError, match=r"there is a term 'total' already"):
        RewardWeights().terms({"total": Answers()})
    with pytest.raises(ValueError, match=r"Answers: weight: expected a finite number, got nan"):
        Answers(float("nan"))


def test_a_term_that_is_no_number_is_named():
    class Ratio(RewardTerm):
        def __call__(self, judged: Judged) -> Tensor:
            return torch.tensor([1.0, float("nan")])

    with pytest.raises(FloatingPointError, match=r"the reward term 'ratio' is NaN or infinite for 1 of 2 completions"):
        total_reward({"ratio": Ratio()}, judged([1, 0], [0.5, 0.5]))
