"""From the bytes of a request to a plan: everything that takes time, for threads beside the event loop."""

from dataclasses import dataclass
from typing import Any

from lit_listener.data.images import open_image
from lit_listener.judging.judge import Judge
from lit_listener.judging.pictures import Picture
from lit_listener.judging.plans import Plan
from lit_listener.judging.requests import CompareRequest, RankRequest, Request
from lit_listener.judging.server.admission import Lease
from lit_listener.judging.server.errors import Refusal
from lit_listener.judging.server.forms import read_form
from lit_listener.judging.server.limits import Limits
from lit_listener.judging.server.wire import FORMATS, CompareQuestion, Question, ScoreQuestion, read_question

BYTES_A_PIXEL = 3
_JPEG, _SCAN = b"\xff\xd8", b"\xff\xda"
_MOST_SCANS = 100  # of a JPEG; progressive ones have about ten, and libtiff takes as many as this


@dataclass(frozen=True)
class Understood:
    """A request that can be answered."""

    asked: Question
    plan: Plan[Any]
    images: int
    completions: int

    @property
    def told(self) -> dict[str, int]:
        """What the log says of it."""
        return {"images": self.images, "completions": self.completions}


def understand(
    body: bytes, content_type: str, kind: type[Question], judge: Judge, limits: Limits, lease: Lease
) -> Understood:
    """Read a request: its fields, its images, and what is to be thought about.

    Args:
        body: the whole of it.
        content_type: the header.
        kind: what is asked for.
        judge: who will answer.
        limits: what a request is held to.
        lease: holds the decoded images.

    Raises:
        Refusal: it cannot be answered.
    """
    form = content_type.partition(";")[0].strip().lower() == "multipart/form-data"
    asked: Question = read_question(kind, read_form(body, content_type) if form else body, limits)
    if asked.listen and not judge.can_listen:
        raise Refusal(422, "no_listener", f"listen: no listener is known of {judge.name}: ask without listen")
    pictures = [read_picture(name, content, limits, lease) for name, content in asked.pictures().items()]
    try:
        plan = judge.plan(_request(asked, pictures))
        judge.check(plan)
    except (ValueError, TypeError, LookupError) as error:
        raise unanswerable(error) from error
    for showing in plan.showings:
        _ = showing.key  # hashes the pictures here, not in the batching thread; they keep it
    completions = sum(showing.rollouts for showing in plan.showings)
    return Understood(asked, plan, len(pictures), completions)


def unanswerable(error: Exception) -> Refusal:
    """What the judge says of a request that it cannot answer."""
    message = str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)
    return Refusal(422, "unanswerable", message)


def _request(asked: Question, pictures: list[Picture]) -> Request[Any]:
    how: dict[str, Any] = {name: getattr(asked, name) for name in ("rollouts", "both_orders", "seed", "listen")}
    if isinstance(asked, CompareQuestion):
        image_a, image_b = pictures
        return CompareRequest(asked.prompt, image_a, image_b, **how)
    assert isinstance(asked, ScoreQuestion)
    given = None if asked.anchor_image is None else pictures.pop()
    return RankRequest(asked.prompt, pictures, anchor=asked.anchor if given is None else given, **how)


def read_picture(name: str, content: bytes, limits: Limits, lease: Lease) -> Picture:
    """Decode an image.

    Args:
        name: what messages call it.
        content: a whole file.
        limits: what it is held to.
        lease: holds its pixels.

    Raises:
        Refusal: it is none, or beyond a limit.
    """
    if content.startswith(_JPEG) and (scans := content.count(_SCAN)) > _MOST_SCANS:
        # each passes over the whole image, and may be a few bytes long: a small file would be decoded for hours
        raise Refusal(
            422,
            "bad_image",
            f"{name}: expected a JPEG of at most {_MOST_SCANS} scans, got {scans}; send it as a plain JPEG or a PNG",
        )
    try:
        image = open_image(content, max_pixels=limits.max_image_pixels, formats=FORMATS)
    except ValueError as error:
        known = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise Refusal(
            422,
            "bad_image",
            f"{name}: {error}; send a whole {known} file of at most {limits.max_image_pixels} pixels",
        ) from error
    lease.take(image.width * image.height * BYTES_A_PIXEL)
    return Picture(image)
