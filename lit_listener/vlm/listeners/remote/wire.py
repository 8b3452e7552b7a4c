"""What goes over the wire: a question with a trace as a chat of OpenAI's shape, and the labels' masses that come back.

One token is asked for, at temperature 0, with the log-probabilities of the 20 likeliest: servers give these of the
unscaled distribution. What is not among the 20 has at most the mass that they leave, and at most that of the least of
them; where so much could change a label's probability noticeably, nothing was heard.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any
from uuid import uuid4

from PIL.Image import Image

from lit_listener.tasks import Question
from lit_listener.tasks.wording import CHAT_TOKEN
from lit_listener.vlm.listeners.failures import ListenerFailedError

TOP = 20
"""Log-probabilities asked for: as many as OpenAI's interface and vLLM's default allow."""
_OPEN_SHARE = 0.01
"""A label that is not among the likeliest tokens may have had so much of all labels' mass, and counts as without."""
_ANSWER_OPENS = re.compile(r"<answer>[^<]*\Z")
_SHOWN_CHARS = 300
_ROUNDING = 0.01


@dataclass(frozen=True)
class Frame:
    """A request's body without its trace: the same for all traces about one question."""

    before: bytes
    after: bytes
    continues: bool
    """Whether the trace is the beginning of the reply, and not a part of the question."""

    def body(self, trace: str) -> tuple[bytes, bytes, bytes]:
        """The body in pieces; ``trace`` ends where the label is to stand."""
        told = trace if self.continues else _ANSWER_OPENS.sub("", trace).rstrip()
        return self.before, json.dumps(told).encode(), self.after

    def key(self, trace: str) -> bytes:
        """What a question with a trace is known by."""
        digest = hashlib.sha256(self._digest)
        digest.update(trace.encode(errors="surrogatepass"))
        return digest.digest()

    @cached_property
    def _digest(self) -> bytes:
        return hashlib.sha256(self.before + b"\0" + self.after).digest()


@dataclass(frozen=True)
class Word:
    """What a server said of one trace."""

    masses: tuple[float, ...]
    """Probability of each label, over all its spellings; not renormalised."""
    open_mass: float
    """Most probability that labels may have which are not among the likeliest tokens."""

    @property
    def heard(self) -> bool:
        """Whether the labels' probabilities are known well enough."""
        total = sum(self.masses)
        return total > 0 and self.open_mass <= _OPEN_SHARE * (total + self.open_mass)


def frame(question: Question, model: str, labels: Sequence[str], *, continues: bool, extra: Mapping[str, Any]) -> Frame:
    """The request that asks a question, but for the trace.

    Args:
        question: messages with image slots, and the images.
        model: the server's name of the model.
        labels: what an answer may be.
        continues: the server goes on with a reply that is begun; else the trace is told at the question's end.
        extra: further fields.
    """
    # drawn anew each time: no prompt can hold it
    mark = uuid4().hex
    messages = _with_images(question)
    if continues:
        messages.append({"role": "assistant", "content": mark})
    else:
        wish = f"Reply with one of these labels and nothing else: {', '.join(labels)}"
        told = [{"type": "text", "text": mark}, {"type": "text", "text": f"\n\n{wish}"}]
        messages[-1] = {**messages[-1], "content": [*messages[-1]["content"], {"type": "text", "text": "\n\n"}, *told]}
    body = {
        "model": model,
        "messages": messages,
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": TOP,
        **({"continue_final_message": True, "add_generation_prompt": False} if continues else {}),
        **extra,
    }
    before, after = json.dumps(body).encode().split(json.dumps(mark).encode())
    return Frame(before, after, continues)


def as_text(trace: bytes) -> str:
    """A trace as the reasoner wrote it, chat tokens pulled apart: a server would take them for what they spell."""
    return CHAT_TOKEN.sub(r"< |\1| >", trace.decode(errors="replace"))


def read_word(content: bytes, labels: Sequence[str]) -> Word:
    """The labels' masses in an answer.

    Args:
        content: the answer's body.
        labels: the texts of the labels; " 1" is a spelling of "1".

    Raises:
        ListenerFailedError: it holds no log-probabilities, or some that are none.
    """
    top = _likeliest(content)
    if not all(log_prob <= _ROUNDING for _, log_prob in top):  # NaN is not
        raise ListenerFailedError(f"expected log-probabilities, got {[log_prob for _, log_prob in top]}")
    p = [math.exp(log_prob) for _, log_prob in top]
    masses = tuple(
        sum(each for (text, _), each in zip(top, p, strict=True) if text in (label, f" {label}")) for label in labels
    )
    missing = sum(mass == 0 for mass in masses)
    left = max(0.0, 1 - sum(p))
    return Word(masses, min(left, missing * 2 * min(p)))


def _likeliest(content: bytes) -> list[tuple[str, float]]:
    """The likeliest tokens' texts and log-probabilities."""
    try:
        choice = json.loads(content)["choices"][0]
        read = [(_text(each), float(each["logprob"])) for each in choice["logprobs"]["content"][0]["top_logprobs"]]
    except (ValueError, LookupError, TypeError):
        read = []
    if not read:
        raise ListenerFailedError(
            "expected the first token's logprobs in the answer (choices[0].logprobs.content[0].top_logprobs), and they "
            f"are not there: the server must give them. It said: {content[:_SHOWN_CHARS]!r}"
        )
    return read


def _text(token: Mapping[str, Any]) -> str:
    spelled = token.get("bytes")
    return str(token["token"]) if spelled is None else bytes(spelled).decode(errors="replace")


def _with_images(question: Question) -> list[dict[str, Any]]:
    images = iter(question.images)
    return [
        {
            "role": message["role"],
            "content": [
                {"type": "image_url", "image_url": {"url": _data_url(next(images))}}
                if part["type"] == "image"
                else part
                for part in message["content"]
            ],
        }
        for message in question.messages
    ]


def _data_url(image: Image) -> str:
    file = BytesIO()
    image.convert("RGB").save(file, "PNG", compress_level=1)  # no pixel changes; what is sent once is not worth more
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
