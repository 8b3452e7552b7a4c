"""What comes over the wire: the records of questions, from JSON or forms.

Both kinds of body come to the same record. Unknown fields are refused: a misspelt option must not be ignored silently.
"""

import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator

from lit_listener.judging.server.errors import Refusal
from lit_listener.judging.server.limits import Limits

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Pillow's names of the image formats that are read; others start programs of their own, or are seldom looked after."""
_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)
_PYDANTIC_STARTS = re.compile(r"^(Value error, expected|(Input|List|String) should (be|have)) ")
_SHOWN_ERRORS = 3
_SHOWN_CHARS = 60


def is_data_url(text: str) -> bool:
    """Whether a text is an image in base64 that says so."""
    return _DATA_URL.match(text) is not None


def image_bytes(given: Any) -> bytes:
    """The bytes of an image file: a form's file, or base64 with or without the beginning of a data URL.

    Raises:
        ValueError: it is neither, or empty.
    """
    if isinstance(given, bytes):  # a file of a form
        if not given:
            raise ValueError("expected an image file, got an empty one")
        return given
    if not isinstance(given, str):
        raise ValueError("expected an image file in base64")  # noqa: TRY004  # pydantic takes ValueErrors
    prefix = _DATA_URL.match(given)
    text = given[prefix.end() :] if prefix else given
    try:
        content = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(f"expected an image file in base64, without line breaks; {error}") from None
    if not content:
        raise ValueError("expected an image file in base64, got nothing")
    return content


ImageBytes = Annotated[
    bytes,
    BeforeValidator(image_bytes),
    WithJsonSchema(
        {
            "type": "string",
            "contentEncoding": "base64",
            "description": f"An image file in base64: {', '.join(FORMATS)}. A data:image/...;base64, prefix may stand "
            "before it.",
        }
    ),
]
_WHOLE_NUMBERS = 2**63


class Question(BaseModel):
    """What every question has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str = Field(min_length=1, description="What the images were made from.")
    rollouts: int = Field(1, ge=1, description="Traces of each pair or list in each display order, or of each image.")
    both_orders: bool = Field(True, description="Show images in both orders; of no effect where each is rated.")
    seed: int = Field(0, ge=-_WHOLE_NUMBERS, lt=_WHOLE_NUMBERS, description="Seed of the traces.")
    listen: bool = Field(False, description="Let the listener hear the traces too.")

    def pictures(self) -> dict[str, bytes]:
        """All images, by the names that messages call them."""
        raise NotImplementedError


class CompareQuestion(Question):
    """Which of two images would people prefer?"""

    image_a: ImageBytes
    image_b: ImageBytes
    traces: bool = Field(True, description="Give the traces too.")

    def pictures(self) -> dict[str, bytes]:
        """All images, by the names that messages call them."""
        return {"image_a": self.image_a, "image_b": self.image_b}


class ScoreQuestion(Question):
    """How good are these images, against one anchor?

    A judge that rates images takes none, and one that looks at all at once needs none.
    """

    images: list[ImageBytes] = Field(min_length=1)
    anchor: int | None = Field(None, ge=0, description="Place of the anchor among the images, from 0.")
    anchor_image: ImageBytes | None = Field(None, description="The anchor, as an image.")

    @model_validator(mode="after")
    def _one_anchor(self) -> "ScoreQuestion":
        if self.anchor is not None and self.anchor_image is not None:
            raise ValueError("expected one anchor, got anchor and anchor_image: send one of them")
        return self

    def pictures(self) -> dict[str, bytes]:
        """All images, by the names that messages call them; ``anchor_image`` last."""
        named = {f"images[{place}]": image for place, image in enumerate(self.images)}
        return named if self.anchor_image is None else {**named, "anchor_image": self.anchor_image}


class RankQuestion(ScoreQuestion):
    """How good are these images, and why?"""

    traces: bool = Field(True, description="Give the traces too.")


def read_question(kind: type[Question], given: bytes | Mapping[str, list[str | bytes]], limits: Limits) -> Any:
    """Make a record of a body.

    Args:
        kind: which record.
        given: JSON; or the fields of a form.
        limits: what it is held to.

    Raises:
        Refusal: it is no JSON (400), no such question (422), or of far too many values (413).
    """
    if isinstance(given, bytes):
        _check_values(given, limits)
    try:
        asked = (
            kind.model_validate_json(given, strict=True)
            if isinstance(given, bytes)
            else kind.model_validate(_form_fields(kind, given))
        )
    except ValidationError as error:
        raise told(error, kind) from None
    _check(asked, limits)
    return asked


def _form_fields(kind: type[Question], form: Mapping[str, list[str | bytes]]) -> dict[str, Any]:
    """A form's fields as JSON would have them; ``images`` is a list, and all others stand once."""
    fields: dict[str, Any] = {}
    for name, values in form.items():
        if name == "images":
            fields[name] = values
        elif len(values) > 1 and name in kind.model_fields:
            raise Refusal(422, "invalid_field", f"{name}: expected it once in the form, got it {len(values)} times")
        else:
            fields[name] = values[0]
    return fields


def _check_values(given: bytes, limits: Limits) -> None:
    """Refuse JSON of more values than a question has, unread: each that is wrong would take a kilobyte to tell of."""
    most = limits.max_prompt_chars + 2 * limits.max_images + len(RankQuestion.model_fields)  # two: of a data: URL
    commas = given.count(b",")
    if commas > most:
        raise Refusal(
            413,
            "too_large",
            f"expected JSON of at most {most} commas, its prompt's among them, got {commas}: send fewer images at once "
            "or a shorter prompt",
        )


def _check(asked: Question, limits: Limits) -> None:
    for name, got, most in (
        ("prompt: characters", len(asked.prompt), limits.max_prompt_chars),
        ("rollouts", asked.rollouts, limits.max_rollouts),
        ("images", len(asked.pictures()), limits.max_images),
    ):
        if got > most:
            raise Refusal(422, "over_limit", f"{name}: expected at most {most}, got {got}")


def told(error: ValidationError, kind: type[BaseModel]) -> Refusal:
    """What is wrong with a body, in the words of the house."""
    wrong = error.errors(include_url=False, include_context=False)
    if wrong[0]["type"] == "json_invalid":
        return Refusal(400, "broken_json", f"expected a JSON object, but the body is none: {wrong[0]['msg']}")
    lines = []
    for each in wrong[:_SHOWN_ERRORS]:
        name = "".join(f"[{part}]" if isinstance(part, int) else str(part) for part in each["loc"]) or "the body"
        if each["type"] == "extra_forbidden":
            known = ", ".join(kind.model_fields)
            lines.append(f"{name[:_SHOWN_CHARS]}: unknown field; expected {known}")
        elif each["type"] == "missing":
            lines.append(f"{name}: missing; send it")
        else:
            lines.append(f"{name}: {_PYDANTIC_STARTS.sub('expected ', each['msg'], 1)}{_got(each['input'])}")
    if len(wrong) > _SHOWN_ERRORS:
        lines.append(f"and {len(wrong) - _SHOWN_ERRORS} more")
    return Refusal(422, "invalid_field", "; ".join(lines))


def _got(value: Any) -> str:
    if isinstance(value, str | int | float | bool | None):
        shown = repr(value)
        return f"; got {shown if len(shown) <= _SHOWN_CHARS else shown[:_SHOWN_CHARS] + '…'}"
    return f"; got a {type(value).__name__}" if isinstance(value, list | dict) else ""
