"""From the bytes of a request to a chat: everything that takes time, for threads beside the event loop."""

import hashlib
import json
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from lit_listener.judging.pictures import Picture
from lit_listener.judging.server.admission import Lease
from lit_listener.judging.server.errors import Refusal
from lit_listener.judging.server.limits import MIB, Limits
from lit_listener.judging.server.openai.chats import Chat
from lit_listener.judging.server.openai.wire import ChatRequest, ImagePart, Message, read_chat
from lit_listener.judging.server.reading import BYTES_A_PIXEL, read_picture
from lit_listener.judging.server.wire import image_bytes, is_data_url
from lit_listener.tasks import Question

_CHAT_TOKEN = re.compile(r"<\|\w+\|>")
_KEPT_MIB = 256


@dataclass(frozen=True)
class UnderstoodChat:
    """A request that can be answered."""

    asked: ChatRequest
    chat: Chat
    images: int

    @property
    def told(self) -> dict[str, int]:
        """What the log says of it."""
        return {"images": self.images, "completions": 1}


class ChatReader:
    """Reads chats; images that came a moment ago are not decoded again, as with the traces of one pair.

    Args:
        model: the name that requests must ask for.
        limits: what they are held to.
    """

    def __init__(self, model: str, limits: Limits) -> None:
        self._model = model
        self._limits = limits
        self._kept: OrderedDict[bytes, Picture] = OrderedDict()
        self._bytes_kept = 0
        self._keeping = threading.Lock()

    def __call__(self, body: bytes, lease: Lease) -> UnderstoodChat:
        """Read a request.

        Args:
            body: the whole of it.
            lease: holds the decoded images.

        Raises:
            Refusal: it cannot be answered.
        """
        asked = read_chat(body, self._limits)
        if asked.model != self._model:
            raise Refusal(404, "model_not_found", f"model: expected {self._model!r}, got {asked.model[:100]!r}")
        begun = asked.messages[-1] if asked.continue_final_message else None
        turns = asked.messages[:-1] if begun is not None else asked.messages
        pictures: list[Picture] = []
        messages = tuple(self._turn(turn, pictures, lease) for turn in turns)
        if not pictures:
            raise Refusal(422, "no_image", "messages: expected an image in one of them at least, got none")
        question = Question(messages, tuple(picture.image for picture in pictures), label=None)
        told = json.dumps([messages, [picture.digest for picture in pictures]]).encode()
        chat = Chat(
            question=question,
            question_key=hashlib.sha256(told).digest(),
            begun="" if begun is None else "".join(part.text for part in begun.parts if part.type == "text"),
            max_tokens=asked.max_tokens or asked.max_completion_tokens,
            temperature=1.0 if asked.temperature is None else asked.temperature,
            seed=asked.seed or 0,
            top=(asked.top_logprobs or 0) if asked.logprobs else None,
        )
        return UnderstoodChat(asked, chat, len(pictures))

    def _turn(self, turn: Message, pictures: list[Picture], lease: Lease) -> dict[str, Any]:
        """A message for a chat template; its images are added to the list."""
        content: list[dict[str, Any]] = []
        for part in turn.parts:
            if isinstance(part, ImagePart):
                pictures.append(self._picture(f"image {len(pictures)}", part.image_url.url, lease))
                content.append({"type": "image"})
                continue
            if token := _CHAT_TOKEN.search(part.text):
                raise Refusal(
                    422,
                    "chat_token",
                    f"messages: expected plain text, got the chat token {token[0]}, which would break the message up: "
                    "take it out, or put a blank into it",
                )
            content.append({"type": "text", "text": part.text})
        return {"role": turn.role, "content": content}

    def _picture(self, name: str, url: str, lease: Lease) -> Picture:
        if not is_data_url(url):
            raise Refusal(
                422,
                "bad_image",
                f"{name}: expected a data URL (data:image/png;base64,...), got {url[:60]!r}: this server fetches "
                "nothing; send the image itself",
            )
        key = hashlib.sha256(url.encode(errors="surrogatepass")).digest()
        with self._keeping:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept
        try:
            content = image_bytes(url)
        except ValueError as error:
            raise Refusal(422, "bad_image", f"{name}: {error}") from error
        picture = read_picture(name, content, self._limits, lease)
        _ = picture.digest  # hashed here, not in the batching thread
        self._keep(key, picture)
        return picture

    def _keep(self, key: bytes, picture: Picture) -> None:
        with self._keeping:
            if key not in self._kept:
                self._kept[key] = picture
                self._bytes_kept += _size(picture)
            while self._bytes_kept > _KEPT_MIB * MIB:
                self._bytes_kept -= _size(self._kept.popitem(last=False)[1])


def _size(picture: Picture) -> int:
    return picture.image.width * picture.image.height * BYTES_A_PIXEL
