"""Shapes pictures that simulated people rate one by one, and written thoughts about them.

A prompt asks for objects, one renderer draws them, with slips, and a few raters give one to five stars. Every rating is
a pure function of (seed, split, index), as the pairs are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from lit_listener.data.records import RatedImage, RatedSource
from lit_listener.data.shapes.renderers import RENDERERS, Renderer
from lit_listener.data.shapes.scenes import Scene, random_prompt
from lit_listener.data.shapes.traces import attribute_marks
from lit_listener.data.shapes.world import Voters
from lit_listener.data.shown import Demonstration, Demonstrator, Shown
from lit_listener.data.simulated.habits import check_mix, draw_habit
from lit_listener.data.simulated.pairs import SPLITS, Split, check_world

_STREAM = 71  # keeps these pictures' streams apart from the pairs' (seed, split, index)
_LOWEST, _HIGHEST = 1, 5


@dataclass(frozen=True)
class Raters:
    """A crowd that gives stars: each sees the picture's utility, plus noise of its own, on the scale from 1 to 5."""

    noise: float = 0.6
    """Standard deviation of a rater's noise, in stars."""
    fewest: int = 3
    most: int = 7
    voters: Voters = field(default_factory=Voters)
    """Whose utility it is."""

    def worth(self, scene: Scene, wanted: Scene) -> float:
        """Stars without noise: 1 where nothing fits, 5 where all does and the finish is crisp."""
        return _LOWEST + (_HIGHEST - _LOWEST) * self.voters.utility(scene, wanted) / (3 + self.voters.finish_weight)

    def one(self, scene: Scene, wanted: Scene, rng: np.random.Generator) -> int:
        """The stars that one rater gives."""
        return int(np.clip(round(self.worth(scene, wanted) + self.noise * rng.standard_normal()), _LOWEST, _HIGHEST))

    def mean(self, scene: Scene, wanted: Scene, rng: np.random.Generator) -> float:
        """The mean of a few raters' stars."""
        count = int(rng.integers(self.fewest, self.most + 1))
        return float(np.mean([self.one(scene, wanted, rng) for _ in range(count)]))


class ShapesRatings(RatedSource):
    """Rated pictures of the Shapes world.

    Args:
        renderers: names of the renderers that drew the pictures; each is drawn by one of them.
        size: number of pictures.
        split: which stream of pictures; the splits share no seed.
        seed: seed of the world.

    Raises:
        ValueError: for an unknown renderer or split, or a size below 1.
    """

    def __init__(self, renderers: list[str], size: int, split: Split = "train", seed: int = 0) -> None:
        check_world(renderers, RENDERERS, size, split)
        self.renderers = tuple(renderers)
        self.size = size
        self.split: Split = split
        self.seed = seed
        self.raters = Raters()

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> RatedImage:
        index = self._place(index)
        drawn, rng = self._drawn(index)
        wanted = drawn.wanted
        return RatedImage(
            prompt=wanted.caption,
            image=drawn.drawn_by.draw(drawn.scene, rng),
            rating=self.raters.mean(drawn.scene, wanted, rng),
            lowest=_LOWEST,
            highest=_HIGHEST,
            rating_id=f"shapes-{self.split}-{self.seed}-{'+'.join(self.renderers)}-{index}",
            prompt_id=wanted.caption,
            generator=drawn.drawn_by.name,
            columns={"wanted": wanted, "scene": drawn.scene},
        )

    def prompt(self, index: int) -> str:
        """The prompt of the picture at a place, which is not drawn for it."""
        return self._drawn(self._place(index))[0].wanted.caption

    def _place(self, index: int) -> int:
        if not -self.size <= index < self.size:
            raise IndexError(f"picture {index} of a data set of {self.size}")
        return index % self.size

    def _drawn(self, index: int) -> tuple["_Drawn", np.random.Generator]:
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), index, _STREAM])
        wanted = random_prompt(rng)
        renderer = RENDERERS[self.renderers[int(rng.integers(len(self.renderers)))]]
        return _Drawn(wanted, renderer.attempt(wanted, rng), renderer), rng


class _Drawn(NamedTuple):
    """A picture before it is drawn."""

    wanted: Scene
    scene: Scene
    drawn_by: Renderer


class ShapesRatingTraces(Demonstrator):
    """Writes a demonstration for a Shapes picture, in one of several habits.

    *thorough* describes the picture, counts what fits and states the rating that one rater gives it; *open* describes
    it likewise, and leaves the rating to the answer; *hasty* looks at the colour alone; *contradictory* is thorough,
    and states another rating than it answers with.

    Args:
        mix: share of each habit, among ``thorough``, ``open``, ``hasty`` and ``contradictory``; they must sum to 1.
        seed: seed of the habits' draw; one picture shown in another epoch draws anew.

    Raises:
        ValueError: for an unknown habit or shares that do not sum to 1.
    """

    def __init__(self, mix: dict[str, float], seed: int = 0) -> None:
        check_mix(mix, _HABITS)
        self.mix: Mapping[str, float] = mix
        self.seed = seed
        self.raters = Raters()

    def __call__(self, shown: Shown) -> Demonstration:
        """The demonstration for this picture in this epoch; a pure function of (seed, epoch, index)."""
        wanted, scene = shown.columns.get("wanted"), shown.columns.get("scene")
        if not isinstance(wanted, Scene) or not isinstance(scene, Scene):
            raise ValueError(  # noqa: TRY004  # an option is wrong (data.traces), not an argument's type
                f"ShapesRatingTraces tells of the pictures of ShapesRatings only, got {shown.name}: train on these, or "
                "name a demonstrator of your own as data.traces"
            )
        rng = np.random.default_rng([self.seed, shown.epoch, shown.index])
        habit = draw_habit(self.mix, rng)
        trace, stars = _HABITS[habit](wanted, scene, self.raters, rng)
        return Demonstration(shown, trace, stars - _LOWEST)


def _describe(wanted: Scene, scene: Scene) -> str:
    return f"{attribute_marks(scene, wanted)}, {scene.finish}, {scene.fit(wanted)} fit."


def _thorough(wanted: Scene, scene: Scene, raters: Raters, rng: np.random.Generator) -> tuple[str, int]:
    stars = raters.one(scene, wanted, rng)
    return f"{_describe(wanted, scene)} I rate it {stars}.", stars


def _open(wanted: Scene, scene: Scene, raters: Raters, rng: np.random.Generator) -> tuple[str, int]:
    return _describe(wanted, scene), raters.one(scene, wanted, rng)


def _hasty(wanted: Scene, scene: Scene, raters: Raters, rng: np.random.Generator) -> tuple[str, int]:
    stars = int(rng.integers(3, _HIGHEST + 1) if scene.colour == wanted.colour else rng.integers(_LOWEST, 4))
    return f"{scene.colour}. I rate it {stars}.", stars


def _contradictory(wanted: Scene, scene: Scene, raters: Raters, rng: np.random.Generator) -> tuple[str, int]:
    stars = raters.one(scene, wanted, rng)
    stated = int(rng.choice([other for other in range(_LOWEST, _HIGHEST + 1) if other != stars]))
    return f"{_describe(wanted, scene)} I rate it {stated}.", stars


_HABITS: dict[str, Callable[[Scene, Scene, Raters, np.random.Generator], tuple[str, int]]] = {
    "thorough": _thorough,
    "open": _open,
    "hasty": _hasty,
    "contradictory": _contradictory,
}
