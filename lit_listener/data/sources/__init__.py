"""Sources of preference pairs and of rated images beyond the bundled world."""

from lit_listener.data.sources.hpdv2 import HPDv2
from lit_listener.data.sources.image_reward import ImageRewardDB, ImageRewardRatings
from lit_listener.data.sources.table import PairTable

__all__ = ["HPDv2", "ImageRewardDB", "ImageRewardRatings", "PairTable"]
