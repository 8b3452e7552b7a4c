"""What Shapes knows of its own pairs: which attributes a trace states rightly, and who could be how often right.

Only of pairs that were drawn by ``ShapesPairs``; a pair's name says how to draw it again.
"""

import re
from functools import cache

from lit_listener.data.shapes import ShapesPairs, attribute_accuracy, displayed_scenes
from lit_listener.data.shapes.world import ShapesPair, Voters
from lit_listener.data.shown import ShownPair
from lit_listener.data.simulated.pairs import SPLITS
from lit_listener.evaluation.judged_pairs import JudgedPair
from lit_listener.evaluation.prediction import Prediction

_NAME = re.compile(rf"shapes-(?P<split>{'|'.join(SPLITS)})-(?P<seed>\d+)-(?P<renderers>[a-z+]+)-(?P<index>\d+)")


@cache
def shapes_pair(pair_id: str) -> ShapesPair | None:
    """The pair of this name, drawn again; None where the name is not one of ``ShapesPairs``'."""
    named = _NAME.fullmatch(pair_id)
    if named is None:
        return None
    index = int(named["index"])
    split = next(split for split in SPLITS if split == named["split"])
    return ShapesPairs(named["renderers"].split("+"), index + 1, split, int(named["seed"]))[index]


def stated_rightly(row: Prediction) -> float | None:
    """Share of the eight true attributes that a trace states rightly; None where the truth is not known.

    A pair drawn with other voters, whose votes are then others, is not the pair that was judged.
    """
    pair = shapes_pair(row.pair_id)
    if pair is None or not _is_same(pair, row) or not row.thinks:
        return None
    shown = ShownPair(pair, "a" if row.first == "a" else "b", row.index)
    return attribute_accuracy(row.trace, displayed_scenes(shown))


def knowing_correct(judged: JudgedPair) -> float | None:
    """How often somebody is right who knows what is drawn and what voters like; a tie of the pictures counts half.

    No judge can be expected to do better: what remains are the voters' own coins, which may fall a judge's way. None
    where the truth is not known.
    """
    pair = shapes_pair(judged.any_row.pair_id)
    if pair is None or judged.preferred is None or not _is_same(pair, judged.any_row):
        return None
    a, b = (Voters().utility(scene, pair.wanted) for scene in (pair.scene_a, pair.scene_b))
    return 0.5 if a == b else float((a > b) == (judged.preferred == "a"))


def _is_same(pair: ShapesPair, row: Prediction) -> bool:
    return (pair.votes, pair.share_a) == (row.votes, row.share_a)
