"""The judge at a distance: the methods of ``Judge``, answered by a server (``python -m lit_listener serve``).

Pictures travel as lossless PNG, and numbers as JSON with all their digits: results are those of a judge in this
process (its probabilities too, up to the rounding that the make-up of a batch changes). Nothing here imports the
model's libraries.
"""

import base64
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image as PILImage
from rich.console import Console
from rich.progress import track

from lit_listener.judging.anchors import Anchor, choose_anchor
from lit_listener.judging.client.connection import Connection
from lit_listener.judging.client.health import Health
from lit_listener.judging.pictures import ImageLike, Picture, picture
from lit_listener.judging.results import AnchorChoice, Comparison, Ranking
from lit_listener.judging.rewards import RewardFunction, reward_function
from lit_listener.judging.scores import Scores

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Options:
    """How something is judged; see ``Judge.compare``."""

    rollouts: int = 1
    both_orders: bool = True
    seed: int = 0
    listen: bool = False


class JudgeClient(Scores):
    """A judge that answers over HTTP. One client may be used from several threads, and in forked processes.

    Every method raises ``ConnectionError`` where the server cannot be reached or stays busy, ``PermissionError`` where
    it asks for another token, ``TimeoutError`` where no answer comes in time and ``RuntimeError`` where the server
    fails; questions that it cannot answer raise ``ValueError`` with its message.

    Args:
        base_url: the server's address.
        token: its bearer token, where it asks for one.
        timeout: seconds to wait for an answer.
        retries: how often a question is repeated, with growing pauses, where the server is busy or away.
        concurrency: questions that the methods for many ask at once.

    Raises:
        ValueError: one of these cannot be used.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        timeout: float = 120.0,
        retries: int = 5,
        concurrency: int = 16,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency: expected at least 1, got {concurrency}")
        self.concurrency = concurrency
        self._server = Connection(base_url, token, timeout, retries)

    def health(self) -> Health:
        """How the server is, and which model it serves."""
        said = self._server.get("/health")
        told = {name: said[name] for name in ("status", "model", "version", "can_listen", "queue")}
        return Health(**told, rates_images=said.get("rates_images", False))

    # ---- judging -------------------------------------------------------------------------------------------------

    def compare(
        self,
        prompt: str,
        image_a: ImageLike,
        image_b: ImageLike,
        *,
        rollouts: int = 1,
        both_orders: bool = True,
        seed: int = 0,
        listen: bool = False,
    ) -> Comparison:
        """Which of two images would people prefer for a prompt? See ``Judge.compare``.

        Raises:
            FileNotFoundError: an image file is not there.
            ValueError: an image, the prompt or an option cannot be used.
        """
        options = _Options(rollouts, both_orders, seed, listen)
        images = {"image_a": _png(picture(image_a)), "image_b": _png(picture(image_b))}
        return Comparison.from_dict(self._server.post("/v1/compare", {"prompt": prompt, **images, **asdict(options)}))

    def rank(
        self,
        prompt: str,
        images: Iterable[ImageLike],
        *,
        rollouts: int = 1,
        anchor: Anchor = None,
        both_orders: bool = True,
        seed: int = 0,
        listen: bool = False,
    ) -> Ranking:
        """Rank images for a prompt. See ``Judge.rank``.

        Raises:
            FileNotFoundError: an image file is not there.
            IndexError: the anchor's place is none of the images'.
            ValueError: no images, one image without an anchor, or an image, prompt or option that cannot be used.
        """
        return self._ranked(prompt, images, anchor, _Options(rollouts, both_orders, seed, listen))

    def compare_many(
        self, pairs: Iterable[tuple[str, ImageLike, ImageLike]], *, progress: bool = True, **options: Any
    ) -> list[Comparison]:
        """Compare many pairs, several at once; the same results as one by one.

        Args:
            pairs: (prompt, image A, image B) each; files are opened when their turn comes.
            progress: show a progress bar.
            options: those of ``compare``.

        Raises:
            ValueError: a pair cannot be judged; the message tells which, counted from 0.
        """
        return self._all([partial(self.compare, *pair, **options) for pair in pairs], "comparing", progress)

    def rank_many(
        self, lists: Iterable[tuple[str, Sequence[ImageLike]]], *, progress: bool = True, **options: Any
    ) -> list[Ranking]:
        """Rank many lists of images, several at once; the same results as one by one. See ``compare_many``.

        Args:
            lists: (prompt, images) each.
            progress: show a progress bar.
            options: those of ``rank``.
        """
        return self._all([partial(self.rank, *each, **options) for each in lists], "ranking", progress)

    def reward_fn(self, anchor: Anchor = None, **options: Any) -> RewardFunction:
        """A reward function in the shape that flow_grpo calls. See ``Judge.reward_fn``."""
        return reward_function(self._rank_many_briefly, anchor, options, lambda: self.health().rates_images)

    # ---- asking --------------------------------------------------------------------------------------------------

    def _ranked(
        self, prompt: str, images: Iterable[ImageLike], anchor: Anchor, options: "_Options", traces: bool = True
    ) -> Ranking:
        question, choice = _rank_question(prompt, images, anchor, options.seed)
        answer = self._server.post("/v1/rank", {**question, **asdict(options), "traces": traces})
        ranking = Ranking.from_dict(answer)
        return ranking if choice is None else replace(ranking, anchor_choice=choice)

    def _scored(self, prompt: str, images: Iterable[ImageLike], *, anchor: Anchor = None, **options: Any) -> Ranking:
        """A ranking without its traces, which need not travel where only scores are asked for."""
        return self._ranked(prompt, images, anchor, _Options(**options), traces=False)

    def _rank_many_briefly(
        self, lists: Iterable[tuple[str, Sequence[ImageLike]]], *, progress: bool, **options: Any
    ) -> list[Ranking]:
        return self._all([partial(self._scored, *each, **options) for each in lists], "ranking", progress)

    def _all(self, calls: Sequence[Callable[[], Result]], doing: str, progress: bool) -> list[Result]:
        """The results of all calls, in their order; the first that fails ends it, and those not begun are left."""
        with ThreadPoolExecutor(min(self.concurrency, max(1, len(calls)))) as pool:
            asked = [pool.submit(call) for call in calls]
            bar = track(asked, doing, console=Console(stderr=True), transient=True, disable=not progress)
            try:
                return [_result(future, place) for place, future in enumerate(bar)]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def _result(future: "Future[Result]", place: int) -> Result:
    try:
        return future.result()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"number {place}: {error}") from error
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"number {place}: {error}") from error


def _rank_question(
    prompt: str, images: Iterable[ImageLike], anchor: Anchor, seed: int
) -> tuple[dict[str, Any], AnchorChoice | None]:
    """What is asked of the server, and how the anchor came to be one, of which the server sees but the outcome."""
    if isinstance(images, str | Path | PILImage.Image):
        raise TypeError(f"images: expected a list of images, got one {type(images).__name__}: give [image]")
    pictures = [picture(image) for image in images]
    question: dict[str, Any] = {"prompt": prompt, "images": [_png(each) for each in pictures]}
    if anchor is None:  # the server draws it, if there is one, and says so
        return question, None
    chosen = choose_anchor(anchor, prompt, pictures, seed)
    if chosen.place is None:
        return {**question, "anchor_image": _png(chosen.image)}, chosen.choice
    return {**question, "anchor": chosen.place}, chosen.choice


def _png(given: Picture) -> str:
    """A picture's pixels, and nothing else that its file may have held, as PNG in base64."""
    bare = PILImage.frombytes("RGB", given.image.size, given.image.tobytes())
    file = BytesIO()
    bare.save(file, "PNG", compress_level=1)  # a fifth of the time of the usual 6, for a few per cent more bytes
    return base64.b64encode(file.getvalue()).decode()
