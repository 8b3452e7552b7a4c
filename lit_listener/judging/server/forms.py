"""Forms (``multipart/form-data``): their parts, in memory, from a body of bounded size."""

from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from lit_listener.judging.server.errors import Refusal

_MOST_PARTS = 1000


@dataclass
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    content: bytearray = field(default_factory=bytearray)


class _Parts:
    """Collects what the parser calls out."""

    def __init__(self) -> None:
        self.found: list[_Part] = []
        self.ended = False
        self._name = bytearray()
        self._value = bytearray()

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self.found[-1].content.extend(memoryview(data)[start:end]),
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.found) == _MOST_PARTS:
            raise Refusal(413, "too_large", f"expected at most {_MOST_PARTS} parts of a form, got more")
        self.found.append(_Part())

    def _end(self) -> None:
        self.ended = True

    def _header(self) -> None:
        self.found[-1].headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()


def read_form(body: bytes, content_type: str) -> dict[str, list[str | bytes]]:
    """Take a form apart.

    Args:
        body: the whole of it.
        content_type: the header, which names the boundary.

    Returns:
        the values of each field in their order: bytes of files, and texts.

    Raises:
        Refusal: it is no form (400).
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise _broken("its Content-Type names no boundary")
    parts = _Parts()
    try:
        parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]
        parser.write(body)
    except FormParserError as error:
        raise _broken(str(error)) from error
    if not parts.ended:  # the parser does not say so itself
        raise _broken("its end is missing")
    fields: dict[str, list[str | bytes]] = {}
    for part in parts.found:
        _, options = parse_options_header(part.headers.get(b"content-disposition"))
        try:
            name = options[b"name"].decode()
            value = bytes(part.content) if b"filename" in options else part.content.decode()
        except KeyError:
            raise _broken("a part has no name") from None
        except UnicodeDecodeError as error:
            raise _broken(f"a text in it is not UTF-8 ({error.reason})") from error
        fields.setdefault(name, []).append(value)
    return fields


def _broken(why: str) -> Refusal:
    return Refusal(400, "broken_form", f"expected a form as multipart/form-data, but {why}: send one that is whole")
