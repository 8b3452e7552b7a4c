"""``judge.json``: what a model folder says of how it is to be asked, beside its weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lit_listener.tasks
from lit_listener.tasks import PairwisePreference, Task

CARD = "judge.json"
_TASKS = "lit_listener.tasks"


@dataclass(frozen=True)
class JudgeCard:
    """How a model was trained to be asked."""

    task: Task
    max_new_tokens: int = 512
    temperature: float = 1.0
    listener: str | None = None
    """Hub id, folder or bundled name of the frozen model that listened in training."""


def read_card(content: str, where: str) -> JudgeCard:
    """Read a card.

    A folder may come from anybody, so that its card may name this package's own tasks and nothing else.

    Args:
        content: its JSON.
        where: its path, for messages.

    Raises:
        ValueError: it is no card, or names another class.
    """
    try:
        card: Mapping[str, Any] = json.loads(content)
        given = dict(card)
        task = given.pop("task")
        return JudgeCard(task=_task(task["class_path"], task.get("init_args", {})), **given)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: expected a task, max_new_tokens, temperature and listener; {error!r}") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def default_card() -> JudgeCard:
    """How a model is asked that says nothing of it: the question in full, of any instruct model."""
    return JudgeCard(PairwisePreference())


def write_card(folder: Path, task: Mapping[str, Any], **others: Any) -> None:
    """Write a card into a model folder.

    Args:
        folder: where to.
        task: the config's ``class_path`` and ``init_args``.
        others: ``max_new_tokens``, ``temperature``, ``listener``.
    """
    (folder / CARD).write_text(json.dumps({"task": dict(task), **others}, indent=2) + "\n")


def _task(class_path: str, init_args: Mapping[str, Any]) -> Task:
    module, _, name = class_path.rpartition(".")
    kind = getattr(lit_listener.tasks, name, None) if module == _TASKS else None
    if not isinstance(kind, type):
        raise ValueError(  # noqa: TRY004  # a name in a file is wrong, not an argument's type
            f"its task is {class_path}, which is none of {_TASKS}, and is not imported for a model folder's sake: give "
            "the task yourself, Judge.load(..., task=...)"
        )
    task: Task = kind(**init_args)
    return task
