"""Sampling completions: what an engine is, and two of them."""

from lit_listener.vlm.rollout.engine import RolloutEngine, Sampling
from lit_listener.vlm.rollout.grouped import GroupedRollout
from lit_listener.vlm.rollout.plain import TransformersRollout

__all__ = ["GroupedRollout", "RolloutEngine", "Sampling", "TransformersRollout"]
