"""Ranked lists of the Shapes world: several pictures of one prompt, ranked by how much the voters would like each.

Ranks are those of the voters' utility itself, without the noise of a vote; pictures of one utility tie. Like the pairs,
every list is a pure function of (seed, split, index).
"""

from dataclasses import dataclass

import numpy as np

from lit_listener.data.records import ListSource, RankedList
from lit_listener.data.shapes.renderers import RENDERERS
from lit_listener.data.shapes.scenes import Scene, random_prompt
from lit_listener.data.shapes.traces import attribute_marks
from lit_listener.data.shapes.world import Voters
from lit_listener.data.shown import Demonstration, Demonstrator, Shown, ShownList
from lit_listener.data.simulated.pairs import SPLITS, Split


@dataclass(frozen=True, eq=False)
class ShapesList(RankedList):
    """A list of which the truth is known."""

    wanted: Scene = Scene("one", "red", "circle")
    scenes: tuple[Scene, ...] = ()


class ShapesLists(ListSource):
    """Ranked lists of the Shapes world; in each at least one picture is better than another.

    Args:
        renderers: names of the renderers that drew the pictures; each picture's is chosen among them.
        size: number of lists.
        images: pictures of a list, 2 or more; the most where ``fewest`` is given.
        split: which stream of lists; the splits share no seed.
        seed: seed of the world.
        fewest: lists have this many pictures or more, drawn evenly; None for ``images`` in all of them.

    Raises:
        ValueError: for an unknown renderer or split, or a number that is too small.
    """

    def __init__(
        self,
        renderers: list[str],
        size: int,
        images: int = 4,
        split: Split = "train",
        seed: int = 0,
        fewest: int | None = None,
    ) -> None:
        fewest = images if fewest is None else fewest
        unknown = sorted(set(renderers) - set(RENDERERS))
        if unknown or not renderers:
            raise ValueError(f"renderers: expected one or more of {sorted(RENDERERS)}, got {renderers}")
        if size < 1:
            raise ValueError(f"size: a data set needs at least 1 list, got size={size}")
        if not 2 <= fewest <= images:
            raise ValueError(
                f"images: a list needs at least 2 pictures, and no more than images, got images={images} and "
                f"fewest={fewest}"
            )
        if split not in SPLITS:
            raise ValueError(f"split: expected one of {list(SPLITS)}, got {split!r}")
        self.renderers = tuple(renderers)
        self.images = images
        self.fewest = fewest
        self.split: Split = split
        self.seed = seed
        self.voters = Voters()
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> ShapesList:
        if not -len(self) <= index < len(self):
            raise IndexError(f"list {index} of a data set of {len(self)}")
        index %= len(self)
        rng, count = self._stream(index)
        wanted = random_prompt(rng)
        worths: list[float] = [0.0]
        while len(set(worths)) == 1:
            drawn_by = [RENDERERS[self.renderers[int(i)]] for i in rng.integers(len(self.renderers), size=count)]
            scenes = tuple(renderer.attempt(wanted, rng) for renderer in drawn_by)
            worths = [self.voters.utility(scene, wanted) for scene in scenes]
        sizes = f"{self.fewest}to{self.images}"
        name = f"shapes-lists-{self.split}-{self.seed}-{'+'.join(self.renderers)}-{sizes}-{index}"
        return ShapesList(
            prompt=wanted.caption,
            images=tuple(renderer.draw(scene, rng) for renderer, scene in zip(drawn_by, scenes, strict=True)),
            ranks=tuple(1.0 + sum(other > worth for other in worths) for worth in worths),
            list_id=name,
            prompt_id=wanted.caption,
            generators=tuple(renderer.name for renderer in drawn_by),
            category=wanted.count,
            wanted=wanted,
            scenes=scenes,
        )

    def size(self, index: int) -> int:
        """Number of pictures of the list at a place."""
        return self._stream(index % len(self))[1]

    def _stream(self, index: int) -> tuple[np.random.Generator, int]:
        """A list's random numbers, and how many pictures they give it."""
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), index, self.fewest, self.images])
        return rng, int(rng.integers(self.fewest, self.images + 1))


class ShapesListTraces(Demonstrator):
    """Writes thoroughly about a shown Shapes list: each picture's facts and fit, and which is the best."""

    def __call__(self, shown: Shown) -> Demonstration:
        """The demonstration for this list in this display order.

        Raises:
            ValueError: something else is shown.
        """
        if not isinstance(shown, ShownList) or not isinstance(shown.ranked, ShapesList):
            raise ValueError(  # noqa: TRY004  # an option is wrong (data.traces), not an argument's type
                f"ShapesListTraces tells of Shapes lists only, got {shown.name} ({type(shown).__name__}): train on "
                "ShapesLists, or name a demonstrator of your own as data.traces"
            )
        wanted = shown.ranked.wanted
        scenes = [shown.ranked.scenes[place] for place in shown.order]
        told = " ".join(
            f"image {n}: {attribute_marks(scene, wanted)}, {scene.finish}, {scene.fit(wanted)} fit."
            for n, scene in enumerate(scenes, 1)
        )
        best = shown.ranks.index(min(shown.ranks))  # of several that tie, the first displayed
        return Demonstration(shown, f"{told} image {best + 1} is the best.", best)
