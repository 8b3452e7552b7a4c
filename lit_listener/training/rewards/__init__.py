"""Terms of the reward: the papers' three, and those that a config adds by their class."""

from lit_listener.training.rewards.answers import GatedListener, VoteShare
from lit_listener.training.rewards.approximate import ApproximateMatch
from lit_listener.training.rewards.length import LengthPenalty, SoftOverlong
from lit_listener.training.rewards.papers import Accuracy, Format, Listened
from lit_listener.training.rewards.soft import SoftScore
from lit_listener.training.rewards.term import Judged, Rewards, RewardTerm, total_reward
from lit_listener.training.rewards.thoughts import ContradictionPenalty, LanguageConsistency, Repetition
from lit_listener.training.rewards.weights import Annealed, Weight

__all__ = [
    "Accuracy",
    "Annealed",
    "ApproximateMatch",
    "ContradictionPenalty",
    "Format",
    "GatedListener",
    "Judged",
    "LanguageConsistency",
    "LengthPenalty",
    "Listened",
    "Repetition",
    "RewardTerm",
    "Rewards",
    "SoftOverlong",
    "SoftScore",
    "VoteShare",
    "Weight",
    "total_reward",
]
