"""What supervised training is told of a pair: the image that the majority prefers, or how the votes were split."""

from collections.abc import Mapping
from typing import Literal, TypeVar, get_args

from lit_listener.data.shown import Shown, a_pair

LabelTargets = Literal["majority", "votes"]
"""majority: the preferred image, with certainty. votes: the share of the votes that each image got."""
Way = TypeVar("Way")


def chosen_of(ways: Mapping[str, Way], labels: LabelTargets) -> Way:
    """The way that ``model.labels`` names.

    Raises:
        ValueError: there is no such way.
    """
    if labels not in ways:
        raise ValueError(f"model.labels: expected one of {list(get_args(LabelTargets))}, got {labels!r}")
    return ways[labels]


def majority_share(shown: Shown) -> float:
    """1 where the second image displayed is the majority's, 0 where the first is.

    Raises:
        ValueError: it is no pair, or a tie.
    """
    pair = a_pair(shown, "model.labels")
    if pair.label is None:
        raise tie(pair)
    return float(pair.label)


def votes_share(shown: Shown) -> float:
    """The share of the votes that went to the second image displayed, in [0, 1].

    Raises:
        ValueError: it is no pair.
    """
    pair = a_pair(shown, "model.labels")
    return 1.0 - pair.pair.share_a if pair.first == "a" else pair.pair.share_a


def tie(shown: Shown) -> ValueError:
    """What there is to say of a tie where a majority is wanted."""
    return ValueError(
        f"{shown.name} is a tie, which has no majority: drop ties from data.train (drop_ties: true), or "
        "learn from the votes' shares with model.labels: votes"
    )
