"""``judge.json``: what a model folder says of how it is to be asked, beside its weights.

Exports and the model folders of runs have one. A folder may come from anybody: its card may name this package's own
tasks, and nothing else is imported for its sake unless the caller says so.
"""

import importlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lit_listener.tasks import PairwisePreference, Task
from lit_listener.tasks.wording_file import FILE, resolved

CARD = "judge.json"
_TASKS = "lit_listener.tasks"
Context = Literal["own", "reasoner"]


@dataclass(frozen=True)
class JudgeCard:
    """How a model was trained to be asked."""

    task: Task
    max_new_tokens: int = 512
    temperature: float = 1.0
    listener: str | None = None
    """Hub id, folder or bundled name of the frozen model that listened in training."""
    listener_context: Context = "reasoner"
    """What it heard the thoughts in: the reasoner's own question, or one of its own (``ModelListener``)."""

    def __post_init__(self) -> None:
        tokens, temperature = self.max_new_tokens, self.temperature
        if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
            raise ValueError(f"max_new_tokens: expected a whole number of at least 1, got {tokens!r}")
        if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
            raise ValueError(f"temperature: expected a finite number above 0, got {temperature!r}")
        if not isinstance(self.listener, str | None) or self.listener == "":
            raise ValueError(f"listener: expected the name of a model or null, got {self.listener!r}")
        if self.listener_context not in get_args(Context):
            raise ValueError(f"listener_context: expected one of {get_args(Context)}, got {self.listener_context!r}")


_FIELDS = ("task", "max_new_tokens", "temperature", "listener", "listener_context")


def read_card(content: str, where: str, *, task: Task | None = None, imports: bool = False) -> JudgeCard:
    """Read a card.

    Args:
        content: its JSON.
        where: its path, for messages.
        task: asks in place of the card's own task, which is then not looked at.
        imports: import the task's class, whatever module the card names.

    Raises:
        ValueError: it is no card, a field is out of range, or it names a class that is not this package's own.
    """
    try:
        card = _fields(content)
        named = card.pop("task", None)
        return JudgeCard(task=task or _task(named, imports=imports), **card)
    except ValueError as error:  # which a broken JSON is too
        raise ValueError(f"{where}: {error}") from error


def default_card(task: Task | None = None) -> JudgeCard:
    """How a model is asked that says nothing of it: the question in full, of any instruct model."""
    return JudgeCard(task or PairwisePreference())


def card_text(task: Mapping[str, Any], **others: Any) -> str:
    """A card's JSON.

    Wordings that a config left to their defaults, or named by a file, are written out for this package's own tasks, so
    that a later version with other defaults asks this model as it was trained, and a model folder needs no other file.

    Args:
        task: the config's ``class_path`` and ``init_args``.
        others: the card's other fields.

    Raises:
        FileNotFoundError: a file that the wording stands in is gone.
        ValueError: it is no wording.
    """
    return json.dumps({"task": settled_task(task), **others}, indent=2, ensure_ascii=False) + "\n"


def settled_task(task: Mapping[str, Any]) -> dict[str, Any]:
    """A config's task with all options of this package's own tasks written out, and no file named.

    Raises:
        FileNotFoundError: a file that the wording stands in is gone.
        ValueError: it is no wording.
    """
    path, given = task["class_path"], dict(task.get("init_args") or {})
    kind = _own_task(path)
    return {"class_path": path, "init_args": given if kind is None else resolved(kind, given)}


def _fields(content: str) -> dict[str, Any]:
    card = json.loads(content)
    if not isinstance(card, dict):
        raise ValueError(f"expected an object with the fields {_FIELDS}, got {card!r}")  # noqa: TRY004  # a file is wrong
    if unknown := sorted(card.keys() - set(_FIELDS)):
        raise ValueError(f"{unknown[0]}: there is no such field; expected {_FIELDS}")
    return card


def _task(named: Any, *, imports: bool) -> Task:
    if not isinstance(named, Mapping) or not isinstance(named.get("class_path"), str):
        raise ValueError(f"task: expected class_path and init_args, got {named!r}")  # noqa: TRY004  # a file is wrong
    path, options = named["class_path"], named.get("init_args") or {}
    kind = _own_task(path) or (_imported(path) if imports else None)
    if kind is None:
        raise ValueError(
            f"task: {path} is no task of {_TASKS}, and nothing else is imported for a model folder's sake: give the "
            "task yourself, Judge.load(..., task=...), or, if you trust the folder, trust_remote_code=True"
        )
    if isinstance(options, Mapping) and options.get(FILE) is not None:
        raise ValueError(
            f"task.init_args: {FILE} is {options[FILE]!r}, but a model folder has its wording in the card itself, and "
            "no other file is read for its sake; export the run anew"
        )
    try:
        task: Task = kind(**options)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"task.init_args: {path} cannot be made of them: {error}") from error
    return task


def _own_task(path: str) -> type | None:
    """A task of this package; None where the path names something else."""
    module, _, name = path.rpartition(".")
    if module != _TASKS and not module.startswith(f"{_TASKS}."):
        return None
    try:
        kind = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    return kind if _is_task(kind) else None


def _imported(path: str) -> type:
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"task: {path} cannot be imported: {error}") from error
    if not _is_task(kind):
        raise ValueError(f"task: {path} is no class of tasks")
    return kind  # type: ignore[no-any-return]


def _is_task(kind: Any) -> bool:
    return isinstance(kind, type) and kind is not Task and hasattr(kind, "labels") and hasattr(kind, "retell_question")
