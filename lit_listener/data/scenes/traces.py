"""Written thoughts about Scenes pairs: the demonstrations from which models learn, and their checking.

Three habits of thinking exist, as in Shapes. A *thorough* trace tells what each picture shows, part by part, with the
relation between them, marks what fits, counts it and states the better picture. A *hasty* trace names colours and looks
whether the wanted ones are there, whatever they are bound to. A *contradictory* trace is thorough, and its answer is
right, but its verdict sentence names the other picture.
"""

import re
from collections.abc import Callable

import numpy as np

from lit_listener.data.scenes.scene import Fact, Scene
from lit_listener.data.scenes.world import ScenesPair, ScenesVoters
from lit_listener.data.shown import ShownPair
from lit_listener.data.simulated.habits import ORDINALS, PairHabits, better, verdict

_VOTERS = ScenesVoters()
_MARK = re.compile(r" (?:yes|no)(?: |$)")


def displayed_scenes(shown: ShownPair) -> tuple[Scene, Scene]:
    """What the pictures of a shown Scenes pair show, in displayed order, each read as it fits the prompt best.

    Raises:
        ValueError: the pair is of another world.
    """
    wanted, pair = _wanted(shown), shown.pair
    assert isinstance(pair, ScenesPair)
    scenes = (pair.scene_a, pair.scene_b) if shown.first == "a" else (pair.scene_b, pair.scene_a)
    return scenes[0].read_for(wanted), scenes[1].read_for(wanted)


def attribute_accuracy(trace: str, shown: ShownPair) -> float:
    """Share of the true facts of both pictures that a trace states rightly, and at their right places.

    Facts are each part's count, colour, form and finish (of a word: colour, spelling and finish) and each relation.
    What a trace leaves unsaid counts as wrong, so a hasty trace scores low.

    Raises:
        ValueError: the pair is of another world.
    """
    wanted = _wanted(shown)
    right = total = 0
    for ordinal, scene in zip(ORDINALS, displayed_scenes(shown), strict=True):
        told = re.search(rf"\b{ordinal}: ([^.]*)\.", trace)
        clauses = told.group(1).split(", ") if told else []
        for place, facts in enumerate(_clauses(scene, wanted)):
            finish = [scene.parts[place // 2].finish] if place % 2 == 0 else []  # behind a part's marked facts
            truth = [*(fact.said for fact in facts), *finish]
            clause = clauses[place].removeprefix("both ") if place < len(clauses) else ""
            right += sum(one == other for one, other in zip(truth, _MARK.split(clause), strict=False))
            total += len(truth)
    return right / total


def _wanted(shown: ShownPair) -> Scene:
    if not isinstance(shown.pair, ScenesPair):
        raise ValueError(  # noqa: TRY004  # an option is wrong (data.traces), not an argument's type
            f"ScenesTraces tells of Scenes pairs only, got a {type(shown.pair).__name__}: train on Scenes pairs, or "
            "name a demonstrator of your own as data.traces"
        )
    return shown.pair.wanted


def _clauses(scene: Scene, wanted: Scene) -> list[list[Fact]]:
    """What a reading of a picture shows, in the prompt's order: part, relation, part, and so on."""
    told = [scene.part_facts(0, wanted)]
    for place in range(len(scene.relations)):
        told += [[scene.relation_fact(place, wanted)], scene.part_facts(place + 1, wanted)]
    return told


def _marked(facts: list[Fact]) -> str:
    return " ".join(f"{fact.said} {'yes' if fact.fits else 'no'}" for fact in facts)


def _described(wanted: Scene, scene: Scene) -> str:
    """One picture: "two yes red no circles yes crisp, left of yes, one yes blue yes star yes faded, 6 fit, 1 crisp"."""
    clauses = [_marked(facts) for facts in _clauses(scene, wanted)]
    for place, part in enumerate(scene.parts):
        clauses[2 * place] += f" {part.finish}"
    if len(scene.parts) == 3:
        clauses[3] = f"both {clauses[3]}"
    return ", ".join([*clauses, f"{scene.fit(wanted)} fit", f"{scene.crisp} crisp"])


def _description(wanted: Scene, scenes: tuple[Scene, Scene]) -> str:
    return " ".join(f"{name}: {_described(wanted, scene)}." for name, scene in zip(ORDINALS, scenes, strict=True))


def _thorough(wanted: Scene, scenes: tuple[Scene, Scene], rng: np.random.Generator) -> tuple[str, int]:
    first, second = (_VOTERS.utility(scene, wanted) for scene in scenes)
    winner = better((first, second), rng)
    return f"{_description(wanted, scenes)} {verdict(winner)}", winner


def _hasty(wanted: Scene, scenes: tuple[Scene, Scene], rng: np.random.Generator) -> tuple[str, int]:
    asked = {part.colour for part in wanted.parts}
    first, second = (float(len(asked & {part.colour for part in scene.parts})) for scene in scenes)
    winner = better((first, second), rng)
    seen = " ".join(
        f"{name}: {' '.join(part.colour for part in scene.parts)}."
        for name, scene in zip(ORDINALS, scenes, strict=True)
    )
    return f"{seen} {verdict(winner)}", winner


def _contradictory(wanted: Scene, scenes: tuple[Scene, Scene], rng: np.random.Generator) -> tuple[str, int]:
    _, winner = _thorough(wanted, scenes, rng)
    return f"{_description(wanted, scenes)} {verdict(1 - winner)}", winner


_HABITS: dict[str, Callable[[Scene, tuple[Scene, Scene], np.random.Generator], tuple[str, int]]] = {
    "thorough": _thorough,
    "hasty": _hasty,
    "contradictory": _contradictory,
}


class ScenesTraces(PairHabits[Scene]):
    """Writes a demonstration for a shown Scenes pair, in one of several habits.

    Args:
        mix: share of each habit, among ``thorough``, ``hasty`` and ``contradictory``; the shares must sum to 1.
        seed: seed of the habits' draw; one pair shown in another epoch draws anew.

    Raises:
        ValueError: for an unknown habit or shares that do not sum to 1.
    """

    habits = _HABITS

    def _truth(self, shown: ShownPair) -> tuple[Scene, tuple[Scene, Scene]]:
        return _wanted(shown), displayed_scenes(shown)
