"""``/docs``: what ``/openapi.json`` says, as one page to read. It asks no other server, and runs nothing."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 54rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; font-family: ui-monospace, monospace; font-size: 1.15rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #8886; padding: .3rem .6rem .3rem 0; text-align: left; vertical-align: top; }
pre { overflow-x: auto; padding: .8rem; background: #8882; border-radius: .4rem; }
div { overflow-x: auto; }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
DOCS_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "minLength": "characters at least",
    "maxLength": "characters at most",
    "minItems": "at least",
    "maxItems": "at most",
}
_EXAMPLE = """curl -F prompt='three red circles' -F images=@a.png -F images=@b.png -F images=@c.png ADDRESS/v1/rank
curl -F prompt='three red circles' -F image_a=@a.png -F image_b=@b.png ADDRESS/v1/compare

With a token: curl -H 'Authorization: Bearer TOKEN' ..."""


def docs_page(told: Mapping[str, Any], address: str) -> str:
    """The page.

    Args:
        told: what ``/openapi.json`` says.
        address: where the server was asked, for the examples.
    """
    schemas = told["components"]["schemas"]
    title = escape(f"{told['info']['title']} {told['info']['version']}")
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1><p>{escape(told['info']['description'])}</p>"
        f"<p>For machines: <a href='/openapi.json'>/openapi.json</a>. To try it: <a href='/'>the page</a>.</p>"
        f"<pre>{escape(_EXAMPLE.replace('ADDRESS', address))}</pre>"
    ]
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            parts.extend(_operation(f"{method.upper()} {path}", operation, schemas))
    return "".join(parts)


def _operation(name: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>{escape(name)}</h2><p>{escape(operation.get('description', ''))}</p>"
    if "requestBody" in operation:
        yield "<p>Body: JSON with images in base64, or a form (multipart/form-data) with images as files.</p>"
        yield _fields(operation["requestBody"]["content"]["application/json"]["schema"])
    statuses = dict(operation["responses"])
    answer = statuses.pop("200").get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in answer:
        yield f"<p>Answer:</p>{_fields(schemas[_name(answer)])}"
    if statuses:
        rows = [(f"<code>{status}</code>", escape(each["description"])) for status, each in statuses.items()]
        yield f"<details><summary>Errors</summary>{_table(('status', 'meaning'), rows)}</details>"


def _fields(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", [])
    rows = []
    for name, field in schema["properties"].items():
        bounds = [f"{words} {int(field[bound])}" for bound, words in _BOUNDS.items() if bound in field]
        default = [] if name in required or "default" not in field else [f"default {json.dumps(field['default'])}"]
        about = "; ".join([field["description"]] if "description" in field else [])
        rows.append(
            (
                f"<code>{escape(name)}</code>",
                escape(_type(field)),
                escape(", ".join([*bounds, *default])),
                escape(about),
            )
        )
    return _table(("field", "type", "range", "meaning"), rows)


def _type(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(each) for each in field["anyOf"])
    if "$ref" in field:
        return _name(field)
    if "enum" in field:
        return " or ".join(repr(each) for each in field["enum"])
    if field.get("contentEncoding"):
        return "image"
    return f"list of {_type(field['items'])}" if field.get("type") == "array" else str(field.get("type", ""))


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    cells = "".join(f"<th>{each}" for each in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}' for cell in row)}" for row in rows)
    return f"<div><table><tr>{cells}{lines}</table></div>"
