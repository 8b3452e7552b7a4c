"""What ``/openapi.json`` says of bodies and errors, which the routes read themselves."""

import copy
from typing import Any

from lit_listener.judging.server.answers import ErrorAnswer
from lit_listener.judging.server.errors import STATUSES
from lit_listener.judging.server.limits import Limits
from lit_listener.judging.server.wire import Question


def body_docs(kind: type[Question], limits: Limits) -> dict[str, Any]:
    """The body of a question, as JSON and as a form, with this server's limits."""
    as_json = kind.model_json_schema()
    for name, bound, most in (
        ("prompt", "maxLength", limits.max_prompt_chars),
        ("rollouts", "maximum", limits.max_rollouts),
        ("images", "maxItems", limits.max_images),
    ):
        if name in as_json["properties"]:
            as_json["properties"][name][bound] = most
    as_form = _with_files(copy.deepcopy(as_json))
    content = {"application/json": {"schema": as_json}, "multipart/form-data": {"schema": as_form}}
    return {"requestBody": {"required": True, "content": content}}


def error_docs(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Errors, all of one shape.

    Args:
        statuses: which; none for all.
    """
    return {status: {"model": ErrorAnswer, "description": STATUSES[status]} for status in statuses or tuple(STATUSES)}


def _with_files(schema: Any) -> Any:
    """A schema in which what is base64 in JSON is a file."""
    if isinstance(schema, list):
        return [_with_files(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("contentEncoding") == "base64":
        return {"type": "string", "format": "binary", "description": "An image file."}
    return {name: _with_files(value) for name, value in schema.items()}
