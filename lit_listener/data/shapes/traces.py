"""Written thoughts about Shapes pairs: the demonstrations from which the bundled models learn, and their checking.

Three habits of thinking exist. A *thorough* trace describes both pictures, counts what fits and states the better
one. A *hasty* trace looks at the colour alone. A *contradictory* trace is thorough, and its answer is right, but the
verdict sentence before it names the other picture: a fault that accuracy alone never punishes, and a listener does.
"""

import re
from collections.abc import Callable

import numpy as np

from lit_listener.data.shapes.scenes import COLOURS, COUNTS, FINISHES, SHAPES, Scene
from lit_listener.data.shapes.world import ShapesPair
from lit_listener.data.shown import ShownPair
from lit_listener.data.simulated.habits import ORDINALS, PairHabits, better, verdict

_WORDS = {word: word for words in (COUNTS, COLOURS, FINISHES) for word in words}
_WORDS |= {shape: shape for shape in SHAPES} | {f"{shape}s": shape for shape in SHAPES}


def displayed_scenes(shown: ShownPair) -> tuple[Scene, Scene]:
    """The true scenes of a shown Shapes pair, in displayed order."""
    pair = shown.pair
    if not isinstance(pair, ShapesPair):
        raise TypeError(f"only Shapes pairs have known scenes, got a {type(pair).__name__}")
    return (pair.scene_a, pair.scene_b) if shown.first == "a" else (pair.scene_b, pair.scene_a)


def attribute_accuracy(trace: str, scenes: tuple[Scene, Scene]) -> float:
    """Share of the eight true attributes (two pictures: count, colour, shape, finish) that a trace states rightly.

    What a trace leaves unsaid counts as wrong, so a hasty trace scores low.
    """
    right = 0
    for ordinal, scene in zip(ORDINALS, scenes, strict=True):
        told = re.search(rf"\b{ordinal}: ([^.]*)\.", trace)
        words = {_WORDS.get(word) for word in re.findall(r"[a-z]+", told.group(1))} if told else set()
        right += sum(fact in words for fact in (scene.count, scene.colour, scene.shape, scene.finish))
    return right / 8


def _describe(wanted: Scene, scenes: tuple[Scene, Scene]) -> str:
    return " ".join(
        f"{ordinal}: {attribute_marks(scene, wanted)}, {scene.finish}, {scene.fit(wanted)} fit."
        for ordinal, scene in zip(ORDINALS, scenes, strict=True)
    )


def attribute_marks(scene: Scene, wanted: Scene) -> str:
    """Each attribute, and whether it is the wanted one: "three yes red no circles yes"."""
    words = zip(scene.caption.split(), ("count", "colour", "shape"), strict=True)
    marks = ((word, "yes" if getattr(scene, name) == getattr(wanted, name) else "no") for word, name in words)
    return " ".join(f"{word} {mark}" for word, mark in marks)


def _thorough(wanted: Scene, scenes: tuple[Scene, Scene], rng: np.random.Generator) -> tuple[str, int]:
    first, second = (scene.fit(wanted) + 0.5 * (scene.finish == "crisp") for scene in scenes)
    winner = better((first, second), rng)
    return f"{_describe(wanted, scenes)} {verdict(winner)}", winner


def _hasty(wanted: Scene, scenes: tuple[Scene, Scene], rng: np.random.Generator) -> tuple[str, int]:
    first, second = (float(scene.colour == wanted.colour) for scene in scenes)
    winner = better((first, second), rng)
    seen = " ".join(f"{ordinal}: {scene.colour}." for ordinal, scene in zip(ORDINALS, scenes, strict=True))
    return f"{seen} {verdict(winner)}", winner


def _contradictory(wanted: Scene, scenes: tuple[Scene, Scene], rng: np.random.Generator) -> tuple[str, int]:
    _, winner = _thorough(wanted, scenes, rng)
    return f"{_describe(wanted, scenes)} {verdict(1 - winner)}", winner


_HABITS: dict[str, Callable[[Scene, tuple[Scene, Scene], np.random.Generator], tuple[str, int]]] = {
    "thorough": _thorough,
    "hasty": _hasty,
    "contradictory": _contradictory,
}


class ShapesTraces(PairHabits[Scene]):
    """Writes a demonstration for a shown Shapes pair, in one of several habits.

    Args:
        mix: share of each habit, among ``thorough``, ``hasty`` and ``contradictory``; the shares must sum to 1.
        seed: seed of the habits' draw; one pair shown in another epoch draws anew.

    Raises:
        ValueError: for an unknown habit or shares that do not sum to 1.
    """

    habits = _HABITS

    def _truth(self, shown: ShownPair) -> tuple[Scene, tuple[Scene, Scene]]:
        if not isinstance(shown.pair, ShapesPair):
            raise ValueError(  # noqa: TRY004  # an option is wrong (data.traces), not an argument's type
                f"ShapesTraces tells of Shapes pairs only, got a {type(shown.pair).__name__}: train on Shapes pairs, "
                "or name a demonstrator of your own as data.traces"
            )
        return shown.pair.wanted, displayed_scenes(shown)
