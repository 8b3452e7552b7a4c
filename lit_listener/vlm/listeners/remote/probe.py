"""What is found out about a server before a run begins: its model, and that it tells log-probabilities."""

import json
from collections.abc import Sequence

from PIL import Image

from lit_listener.tasks import Question
from lit_listener.vlm.listeners.failures import ListenerFailedError
from lit_listener.vlm.listeners.remote.endpoint import Reply

_SHOWN_CHARS = 300
_SHOWN_MODELS = 8
_SIDE = 112  # pixels: no image processor of the supported models finds it too small
_HINTS = {
    400: "does it know images, logprobs, top_logprobs: 20 and, if model.listener.continues is on, "
    "continue_final_message?",
    401: "does the environment variable that model.listener.api_key_env names hold its key?",
    403: "does the environment variable that model.listener.api_key_env names hold its key?",
    404: "do model.listener.base_url (with its version, /v1) and model.listener.model name what it serves?",
    413: "are the images too large for it?",
}


def check_labels(labels: Sequence[str]) -> None:
    """Refuse labels that a token alone does not tell apart: its text may be the beginning of another's.

    Raises:
        ValueError: there are such labels.
    """
    for label in labels:
        if longer := [other for other in labels if other != label and other.startswith(label)]:
            raise ValueError(
                f"RemoteListener reads one token, and cannot tell the label {label!r} from the beginning of "
                f"{longer[0]!r}: choose labels none of which begins with another"
            )


def check_models(model: str, reply: Reply) -> None:
    """Find the model among those that a server lists.

    Raises:
        ListenerFailedError: it is not there, or the server lists none.
    """
    if reply.status != 200:
        raise refuse(reply)
    try:
        known = [str(each["id"]) for each in json.loads(reply.content)["data"]]
    except (ValueError, LookupError, TypeError):
        raise ListenerFailedError(
            f"expected /models to list models as OpenAI's API does, got {reply.content[:_SHOWN_CHARS]!r}; is "
            "model.listener.base_url the API's address with its version, such as http://127.0.0.1:8000/v1?"
        ) from None
    if model not in known:
        more = "" if len(known) <= _SHOWN_MODELS else f" and {len(known) - _SHOWN_MODELS} more"
        raise ListenerFailedError(
            f"it does not serve this model; model.listener.model: expected one of {known[:_SHOWN_MODELS]}{more}"
        )


def probe(labels: Sequence[str]) -> Question:
    """A question that any judge can give a label to."""
    text = f"Which of two images is better? Answer with one of: {', '.join(labels)}."
    grey = Image.new("RGB", (_SIDE, _SIDE), "grey")
    content = [{"type": "image"}, {"type": "text", "text": text}]
    return Question(messages=({"role": "user", "content": content},), images=(grey,), label=None)


def refuse(reply: Reply) -> ListenerFailedError:
    """The failure that an answer other than 200 stands for, in the server's own words."""
    hint = _HINTS.get(reply.status)
    return ListenerFailedError(f"it refuses ({reply.status}): {_said(reply.content)}" + (f"; {hint}" if hint else ""))


def _said(content: bytes) -> str:
    try:
        body = json.loads(content)
        error = body.get("error", body)
        said = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        said = content.decode(errors="replace")
    return str(said)[:_SHOWN_CHARS]
