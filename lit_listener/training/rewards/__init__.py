"""Terms of the reward: the papers' three, and those that a config adds by their class."""

from lit_listener.training.rewards.papers import Accuracy, Format, Listened
from lit_listener.training.rewards.term import Judged, Rewards, RewardTerm, total_reward

__all__ = ["Accuracy", "Format", "Judged", "Listened", "RewardTerm", "Rewards", "total_reward"]
