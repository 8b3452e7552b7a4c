"""How a question is put into words: texts with slots, and with Jinja for what else a data row says.

``{prompt}`` and the images' slots stand for what is shown; other single braces are plain text. ``{{ … }}`` and
``{% … %}`` are Jinja, in a sandbox that reads no files: any column of the data row is a name in it (``{{ taste }}``,
``{% if history %}…{% endif %}``), and so are a few that the task itself tells (``labels``, ``answers``, ``thinks``).

Data is never read as a template: a prompt with ``{image_0}`` or ``{{ x }}`` in it stays as it is. Text that a tokenizer
would turn into control tokens is refused, wherever it comes from.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lit_listener.data.shown import Shown

CHAT_TOKEN = re.compile(r"<\|(\w+)\|>")
_MARK = "\0"
"""Stands on both sides of a slot's name while Jinja is at work; no text and no value may hold it."""
_MARKED = re.compile(rf"{_MARK}(\w+){_MARK}")
_PROMPT = "prompt"


def refuse_chat_tokens(text: str, name: str) -> None:
    """Raise a ValueError on text that a tokenizer would turn into control tokens.

    Args:
        text: the text.
        name: what messages call it.
    """
    if token := CHAT_TOKEN.search(text):
        raise ValueError(
            f"{name} holds the chat token {token[0]}, which would break up the message or its image placeholders; "
            f"remove it from the text: {text[:200]!r}"
        )


@dataclass(frozen=True)
class Text:
    """One text of a task.

    Raises:
        ValueError: a slot is missing, repeated or out of order, the text holds a chat token, or its Jinja is none.
    """

    source: str
    name: str
    """The task's option that gave it, for messages."""
    image_slots: tuple[str, ...] = ()
    """Names of the slots that images go into, each once and in this order. Without any, ``{prompt}`` is no slot."""

    def __post_init__(self) -> None:
        if not isinstance(self.source, str):
            raise ValueError(f"{self.name} must be text, got {self.source!r}")  # noqa: TRY004  # an option is wrong
        refuse_chat_tokens(self.source, self.name)
        if _MARK in self.source:
            raise ValueError(f"{self.name} holds a NUL character; remove it")
        try:
            included = [*meta.find_referenced_templates(_ENVIRONMENT.parse(self.source))]
            used = self.variables
        except jinja2.TemplateSyntaxError as error:
            raise ValueError(
                f"{self.name} is no Jinja template: {error} (line {error.lineno}); braces that shall stay as they are "
                "go between {% raw %} and {% endraw %}"
            ) from error
        if included:
            raise ValueError(f"{self.name} includes other templates, which are not read; write their text into it")
        if self.image_slots:
            self._check_slots(used)

    @property
    def variables(self) -> frozenset[str]:
        """Names that are looked up among the columns of a row and the task's own."""
        return _variables(self._marked)

    def fill(self, shown: Shown, own: Mapping[str, Any]) -> list[str]:
        """The text for what is shown.

        Args:
            shown: its prompt and columns are filled in.
            own: what else the task tells, by name; a column of that name must not be used.

        Returns:
            Texts and names of image slots in turn; a text, which may be empty, comes first and last.

        Raises:
            ValueError: a column is missing or empty, a value holds a chat token, or Jinja fails.
        """
        used = self.variables
        values = {**shown.columns, **own, _PROMPT: shown.prompt}
        if missing := sorted(used - values.keys() - _ENVIRONMENT.globals.keys()):
            raise ValueError(
                f"{self.name} asks for the column {missing[0]!r}, which {shown.name} does not have; its columns are "
                f"{sorted(shown.columns)}, and the task's own names {sorted([*own, _PROMPT])}. A PairTable "
                "hands on the columns that its option names: data.train.init_args.columns"
            )
        if taken := sorted(used & own.keys() & shown.columns.keys()):
            raise ValueError(f"{self.name}: the column {taken[0]!r} has a name that the task uses itself; rename it")
        refuse_chat_tokens(shown.prompt, f"the prompt of {shown.name}")
        for column in sorted(used & shown.columns.keys()):
            for text in _texts(shown.columns[column]):
                refuse_chat_tokens(text, f"the column {column!r} of {shown.name}")
        try:
            filled = _compiled(self._marked).render(values)
        except Exception as error:  # a template can fail in any way an expression can
            raise ValueError(f"{self.name} cannot be filled for {shown.name}: {error}") from error
        return self._pieces(filled, shown)

    @property
    def _marked(self) -> str:
        """The source with marked names in the slots' places."""
        if not self.image_slots:
            return self.source
        return self._slots.sub(rf"{_MARK}\1{_MARK}", self.source)

    @property
    def _slots(self) -> re.Pattern[str]:
        return re.compile(rf"(?<!\{{)\{{({'|'.join((_PROMPT, *self.image_slots))})\}}")  # {{prompt}} is Jinja's

    def _check_slots(self, used: frozenset[str]) -> None:
        found = self._slots.findall(self.source)
        wanted = (_PROMPT, *self.image_slots)
        for slot in wanted:
            count = found.count(slot)
            if count != 1 and not (slot == _PROMPT and count == 0 and _PROMPT in used):
                problem = "is missing" if count == 0 else f"occurs {count} times"
                told = ", ".join(f"{{{each}}}" for each in wanted)
                raise ValueError(f"{self.name}: {{{slot}}} {problem}; write {told} exactly once each")
        images = [slot for slot in found if slot != _PROMPT]
        for first, wanted_first in zip(images, self.image_slots, strict=True):
            if first != wanted_first:
                raise ValueError(
                    f"{self.name}: {{{first}}} stands before {{{wanted_first}}}; the first displayed image must come "
                    "first"
                )

    def _pieces(self, filled: str, shown: Shown) -> list[str]:
        """Texts and image slots in turn; the prompt is filled in here, where nothing reads it any more."""
        pieces = [""]
        for place, piece in enumerate(_MARKED.split(filled)):
            if place % 2 and piece != _PROMPT:
                pieces += [piece, ""]
            else:
                pieces[-1] += shown.prompt if place % 2 else piece
        for text in pieces[::2]:  # values side by side may make up a token that neither of them holds
            refuse_chat_tokens(text, f"{self.name}, filled for {shown.name},")
        return pieces


def _texts(value: Any) -> Iterator[str]:
    """All texts that a cell holds, in lists and records too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in (*value.keys(), *value.values()):
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _said(value: Any) -> str:
    """A value as it is written out."""
    if value is None:
        raise ValueError("a value is empty (None): write {% if column %} … {% endif %} around what needs it")
    text = str(value)
    if _MARK in text:
        raise ValueError("a value holds a NUL character, or a slot stands inside {{ }}, where there is none")
    return text


_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined,
    finalize=_said,
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,  # chat messages are no HTML
)
for _name in ("lipsum", "cycler", "joiner"):  # a misspelt column must not turn out to be one of these
    del _ENVIRONMENT.globals[_name]


@functools.lru_cache(maxsize=64)
def _compiled(source: str) -> jinja2.Template:
    return _ENVIRONMENT.from_string(source)


@functools.lru_cache(maxsize=64)
def _variables(source: str) -> frozenset[str]:
    parsed: nodes.Template = _ENVIRONMENT.parse(source)
    return frozenset(meta.find_undeclared_variables(parsed))
