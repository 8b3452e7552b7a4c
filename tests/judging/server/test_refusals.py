"""Bad input is refused with what to send instead, and the server goes on."""

import contextlib
import io
import json
import re
import struct
import zlib

import pytest
from PIL import Image

from lit_listener.judging.judge import Judge
from lit_listener.judging.server.app import create_app
from lit_listener.judging.server.limits import Limits
from tests.judging.server.served import ask, base64_of, compare_body, file_of, form_of, images_of, rank_body, serving

JSON = {"Content-Type": "application/json"}


def huge_png(width: int, height: int) -> bytes:
    """A small file that says it is a large image."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg_of_many_scans() -> bytes:
    """A small file whose pixels are passed over again and again."""
    file = file_of(Image.new("L", (64, 64)), "JPEG", progressive=True)
    last = file.rindex(b"\xff\xda")
    return file[:-2] + file[last:-2] * 200 + file[-2:]


def eps() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "EPS")
    return file.getvalue()


GOOD = compare_body()
PNG = file_of(images_of(0)[0])
COMPARE, RANK = "/v1/compare", "/v1/rank"

TABLE = {
    "not an image": (COMPARE, {**GOOD, "image_b": base64_of(b"hello")}, 422, "bad_image", "image_b: .*PNG, JPEG"),
    "truncated": (COMPARE, {**GOOD, "image_a": base64_of(PNG[: len(PNG) // 2])}, 422, "bad_image", "image_a: .*whole"),
    "bomb": (COMPARE, {**GOOD, "image_a": base64_of(huge_png(10_000, 10_000))}, 422, "bad_image", "10000x10000"),
    "larger bomb": (COMPARE, {**GOOD, "image_a": base64_of(huge_png(60_000, 60_000))}, 422, "bad_image", "image_a"),
    "many scans": (
        COMPARE,
        {**GOOD, "image_a": base64_of(jpeg_of_many_scans())},
        422,
        "bad_image",
        "image_a: .*at most 100 scans, got 206",
    ),
    "eps": (COMPARE, {**GOOD, "image_a": base64_of(eps())}, 422, "bad_image", "not an image of a known format"),
    "thin image": (
        COMPARE,
        {**GOOD, "image_a": base64_of(Image.new("RGB", (1, 900)))},
        422,
        "unanswerable",
        "aspect ratio",
    ),
    "no images": (RANK, rank_body(), 422, "invalid_field", "images: .*at least 1"),
    "one image": (RANK, rank_body(0), 422, "unanswerable", "give more images, or an anchor"),
    "broken base64": (COMPARE, {**GOOD, "image_a": "iVBOR!!"}, 422, "invalid_field", "image_a: .*base64"),
    "base64 with an end within": (COMPARE, {**GOOD, "image_a": "AA==AAAA"}, 422, "invalid_field", "image_a: .*base64"),
    "no base64": (COMPARE, {**GOOD, "image_a": ""}, 422, "invalid_field", "image_a: .*got nothing"),
    "giant prompt": (COMPARE, {**GOOD, "prompt": "x" * 8193}, 422, "over_limit", "prompt: .*at most 8192, got 8193"),
    "prompt of the context": (COMPARE, {**GOOD, "prompt": "x " * 4000}, 422, "unanswerable", "prompt.*tokens"),
    "empty prompt": (COMPARE, {**GOOD, "prompt": " "}, 422, "unanswerable", "prompt: expected the text"),
    "chat token": (COMPARE, {**GOOD, "prompt": "a <|im_end|> b"}, 422, "unanswerable", r"<\|im_end\|>"),
    "missing": (COMPARE, {"prompt": "p", "image_a": base64_of(PNG)}, 422, "invalid_field", "image_b: missing"),
    "unknown": (COMPARE, {**GOOD, "rolouts": 2}, 422, "invalid_field", "rolouts: unknown field; expected prompt"),
    "wrong type": (COMPARE, {**GOOD, "rollouts": "2"}, 422, "invalid_field", "rollouts: .*got '2'"),
    "bool for a number": (COMPARE, {**GOOD, "rollouts": True}, 422, "invalid_field", "rollouts: .*got True"),
    "number for a bool": (COMPARE, {**GOOD, "both_orders": 1}, 422, "invalid_field", "both_orders: .*got 1"),
    "fraction": (COMPARE, {**GOOD, "seed": 0.5}, 422, "invalid_field", "seed: .*got 0.5"),
    "giant seed": (COMPARE, {**GOOD, "seed": 2**63}, 422, "invalid_field", "seed: "),
    "image that is a number": (COMPARE, {**GOOD, "image_a": 7}, 422, "invalid_field", "image_a: .*base64; got 7"),
    "images that are a text": (RANK, {"prompt": "p", "images": "AAAA"}, 422, "invalid_field", "images: .*got 'AAAA'"),
    "too many rollouts": (COMPARE, {**GOOD, "rollouts": 17}, 422, "over_limit", "rollouts: .*at most 16, got 17"),
    "no rollouts": (COMPARE, {**GOOD, "rollouts": 0}, 422, "invalid_field", "rollouts: "),
    "too many images": (RANK, rank_body(*[0] * 65), 422, "over_limit", "images: .*at most 64, got 65"),
    "anchor beyond": (RANK, rank_body(0, 1, anchor=2), 422, "unanswerable", "no image 2 among 2"),
    "anchor below": (RANK, rank_body(0, 1, anchor=-1), 422, "invalid_field", "anchor: "),
    "two anchors": (RANK, rank_body(0, 1, anchor=0, anchor_image=base64_of(PNG)), 422, "invalid_field", "one anchor"),
    "traces of a score": ("/v1/score", rank_body(0, 1, traces=True), 422, "invalid_field", "traces: unknown field"),
}


@pytest.mark.parametrize("name", TABLE)
def test_table(port, name):
    path, body, status, code, message = TABLE[name]
    got_status, got_code, got_message = ask(port, "POST", path, body).error
    assert (got_status, got_code) == (status, code), got_message
    assert re.search(message, got_message), got_message
    assert ask(port, "GET", "/health").json["status"] == "ok"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "broken_json"),
        (b"{", 400, "broken_json"),
        (b"\xff\xfe{}", 400, "broken_json"),
        (json.dumps({**GOOD, "seed": float("nan")}).encode(), 422, "invalid_field"),
        (b"[" * 100_000, 400, "broken_json"),
        (b'{"prompt": ' * 100_000, 400, "broken_json"),
        (b"[]", 422, "invalid_field"),
        (b"null", 422, "invalid_field"),
        (b'{"prompt": "\\ud800", "image_a": "AA==", "image_b": "AA=="}', 400, "broken_json"),
        (b'{"seed": ' + b"9" * 100_000 + b"}", 400, "broken_json"),
    ],
)
def test_bodies_that_are_no_questions(port, body, status, code):
    got = ask(port, "POST", COMPARE, body).error
    assert got[:2] == (status, code), got
    assert "expected" in got[2] or "send it" in got[2]


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded", "image/png"])
def test_content_types(port, kind):
    status, code, message = ask(port, "POST", COMPARE, b"{}", {"Content-Type": kind}).error
    assert (status, code) == (415, "unknown_content_type")
    assert "application/json or multipart/form-data" in message


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        (lambda body, headers: (body, {"Content-Type": "multipart/form-data"}), 400, "boundary"),
        (lambda body, headers: (body[:-20], headers), 400, "its end is missing"),
        (lambda body, headers: (b"", headers), 400, "its end is missing"),
        (lambda body, headers: (b"nonsense" * 9, headers), 400, "form"),
        (lambda body, headers: (body.replace(b'name="prompt"', b""), headers), 400, "a part has no name"),
        (lambda body, headers: (body.replace(b"a form", b"a \xff form"), headers), 400, "not UTF-8"),
        (lambda body, headers: (body.replace(b'name="rollouts"', b'name="rolouts"'), headers), 422, "unknown field"),
        (lambda body, headers: (body.replace(b'name="rollouts"', b'name="prompt"'), headers), 422, "2 times"),
        (lambda body, headers: (body.replace(b"\r\n\r\n2\r\n", b"\r\n\r\ntwo\r\n"), headers), 422, "rollouts: .*'two'"),
    ],
)
def test_broken_forms(port, change, status, message):
    fields = [("prompt", "a form"), ("image_a", PNG), ("image_b", PNG), ("rollouts", "2")]
    got = ask(port, "POST", COMPARE, *change(*form_of(fields))).error
    assert got[0] == status, got
    assert re.search(message, got[2]), got


def test_a_form_of_too_many_parts(port):
    body, headers = form_of([("x", "")] * 1001)
    assert ask(port, "POST", COMPARE, body, headers).error[:2] == (413, "too_large")


def test_unknown_routes_and_methods(port):
    assert ask(port, "GET", "/v2/compare").error[:2] == (404, "not_found")
    assert ask(port, "GET", "/page/../app.py").error[:2] == (404, "not_found")
    assert ask(port, "GET", "/page/..%2fapp.py").error[:2] == (404, "not_found")
    wrong = ask(port, "GET", COMPARE)
    assert wrong.error[:2] == (405, "wrong_method")
    assert wrong.headers["allow"] == "POST"
    assert ask(port, "DELETE", "/health").error[0] == 405


def test_listening_without_a_listener(judge, monkeypatch):
    deaf = Judge.__new__(Judge)
    deaf.__dict__ |= {**judge.__dict__, "_make_ear": None, "_ear": None}
    with serving(create_app(deaf)) as port:
        assert ask(port, "GET", "/health").json["can_listen"] is False
        status, code, message = ask(port, "POST", COMPARE, {**GOOD, "listen": True}).error
    assert (status, code) == (422, "no_listener")
    assert "ask without listen" in message


@pytest.fixture(scope="module")
def small(judge):
    limits = Limits(max_body_mib=1, max_held_mib=8, max_image_pixels=2_000_000)
    with serving(create_app(judge, limits=limits)) as port:
        yield port


class TestSizes:
    def test_told_length(self, small):
        status, code, message = ask(small, "POST", COMPARE, b"x" * (2**20 + 1)).error
        assert (status, code) == (413, "too_large")
        assert "at most 1 MiB" in message

    def test_far_too_much_told(self, small):
        answer = ask(small, "POST", COMPARE, b"", {"Content-Length": str(2**40), "Expect": "100-continue"})
        assert answer.error[:2] == (413, "too_large")

    def test_chunks(self, small):
        body = (b"x" * 2**16 for _ in range(20))
        assert ask(small, "POST", COMPARE, body).error[:2] == (413, "too_large")

    def test_chunks_without_an_end(self, small):
        body = (b"x" * 2**16 for _ in range(2**10))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server hangs up on who never ends
            assert ask(small, "POST", COMPARE, body).error[:2] == (413, "too_large")
        assert ask(small, "GET", "/health").json["status"] == "ok"

    def test_exactly_the_limit(self, small):
        assert ask(small, "POST", COMPARE, b" " * 2**20).error[:2] == (400, "broken_json")

    @pytest.mark.parametrize("value", ["0", "[]", "{}", '""'])
    def test_far_too_many_values_are_not_read_one_by_one(self, small, value):
        body = f'{{"prompt": "p", "images": [{",".join([value] * 100_000)}]}}'.encode()
        status, code, message = ask(small, "POST", RANK, body).error
        assert (status, code) == (413, "too_large")
        assert "at most 8329 commas, its prompt's among them, got 100000" in message

    def test_a_prompt_may_be_all_commas(self, small):
        asked = rank_body(*[0] * 64, prompt="," * 8192)
        asked["images"] = [f"data:image/png;base64,{image}" for image in asked["images"]]
        status, code, message = ask(small, "POST", RANK, asked).error
        assert (status, code) == (422, "unanswerable")
        assert "tokens" in message or "max_new_tokens" in message

    def test_images_that_are_small_files_alone(self, small):
        flat = base64_of(Image.new("RGB", (1400, 1400)))  # 5.6 MiB decoded, a few KiB as a file
        status, code, message = ask(small, "POST", RANK, {"prompt": "p", "images": [flat, flat]}).error
        assert (status, code) == (413, "too_large")
        assert "at most 4 MiB, its images decoded" in message

    def test_nothing_is_held_for_ever(self, small):
        for _ in range(9):  # more than all may hold together
            assert ask(small, "POST", COMPARE, b" " * 2**20).status == 400
        assert ask(small, "POST", COMPARE, GOOD).status == 200


def test_limits_are_checked():
    with pytest.raises(ValueError, match="max_images: expected a number above 0, got 0"):
        Limits(max_images=0)
