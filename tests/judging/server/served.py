"""A judge served in this process, by the real server over loopback, and questions to ask it."""

import base64
import contextlib
import http.client
import io
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI
from PIL import Image

from lit_listener.data.shapes import ShapesPairs
from lit_listener.judging.server.process import bind

PAIRS = ShapesPairs(["flat", "paper"], 32, "test")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def error(self) -> tuple[int, str, str]:
        """Status, code and message, having checked the shape of an error."""
        body = self.json
        assert set(body) == {"error", "request_id"}
        assert body["request_id"] == self.headers["x-request-id"]
        return self.status, body["error"]["code"], body["error"]["message"]


def ask(
    port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 60
) -> Answer:
    """One request on a connection of its own; a dict is sent as JSON, an iterator in chunks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(connection):
        if isinstance(body, dict):
            body = json.dumps(body)
        connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        content = response.read()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)


@contextlib.contextmanager
def serving(app: FastAPI) -> Iterator[int]:
    """Serve an app by a thread; gives the port."""
    listening = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server did not end"


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def base64_of(image: Image.Image | bytes) -> str:
    return base64.b64encode(image if isinstance(image, bytes) else file_of(image)).decode()


def compare_body(place: int = 0, **options: Any) -> dict[str, Any]:
    pair = PAIRS[place]
    images = {"image_a": base64_of(pair.image_a), "image_b": base64_of(pair.image_b)}
    return {"prompt": pair.prompt, **images, **options}


def rank_body(*places: int, **options: Any) -> dict[str, Any]:
    return {"prompt": PAIRS[0].prompt, "images": [base64_of(image) for image in images_of(*places)], **options}


def images_of(*places: int) -> list[Image.Image]:
    return [PAIRS[place].image_a for place in places]


def differences(told: Any, expected: Any, within: float) -> list[str]:
    """Where two answers differ: numbers by more than so much, and all else at all.

    What shares a batch moves the last digits of a probability, and of nothing else: sums have another order.
    """
    if isinstance(expected, float) and isinstance(told, float):
        return [] if abs(told - expected) <= within else [f"{told} is not {expected}"]
    if isinstance(expected, dict) and isinstance(told, dict) and set(told) == set(expected):
        return [f"{name}: {each}" for name in expected for each in differences(told[name], expected[name], within)]
    if isinstance(expected, list) and isinstance(told, list) and len(told) == len(expected):
        return [each for pair in zip(told, expected, strict=True) for each in differences(*pair, within)]
    return [] if told == expected else [f"{told!r} is not {expected!r}"]


def form_of(fields: list[tuple[str, str | bytes]]) -> tuple[bytes, dict[str, str]]:
    """A form's body and its headers; bytes are files."""
    parts = []
    for name, value in fields:
        named = f'name="{name}"' + ('; filename="a.png"' if isinstance(value, bytes) else "")
        content = value if isinstance(value, bytes) else value.encode()
        parts.append(f"--limit\r\nContent-Disposition: form-data; {named}\r\n\r\n".encode() + content + b"\r\n")
    return b"".join(parts) + b"--limit--\r\n", {"Content-Type": "multipart/form-data; boundary=limit"}
