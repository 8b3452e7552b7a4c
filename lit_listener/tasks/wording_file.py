"""Wordings in files: a task's texts, labels and form of answer, in YAML, of one's own or bundled.

A file gives what a task's options of the same names would; what it leaves out stays at the task's default.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_BUNDLED = Path(__file__).with_name("wordings")
FILE = "file"
"""The option that names a file."""


def bundled_wordings() -> list[str]:
    """Names of the wordings that come with the package."""
    return sorted(path.stem for path in _BUNDLED.glob("*.yaml"))


def option_defaults(kind: type) -> dict[str, Any]:
    """The options of a task that have a default, and what it is."""
    options = inspect.signature(kind).parameters
    return {name: option.default for name, option in options.items() if option.default is not option.empty}


def resolved(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """A task's options with the content of a file in the place of its name.

    Args:
        kind: the class of the task.
        given: the options that were given, ``file`` among them or not.

    Returns:
        All options of the task but ``file``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no wording of this task, or other options are given beside it.
    """
    defaults = option_defaults(kind)
    options = {**defaults, **given}
    file = options.pop(FILE, None)
    defaults.pop(FILE, None)
    if file is None:
        return options
    for name, value in given.items():
        if name != FILE and value is not None and _listed(value) != _listed(defaults.get(name)):
            raise ValueError(
                f"{name} and file are both given, got {name}={value!r} and file={file!r}: leave one out; over a config "
                f"that gives it, {name}: null leaves it to the file"
            )
    options |= {name: defaults[name] for name, value in given.items() if value is None and name in defaults}
    return {**options, **read_wording(file, tuple(defaults))}


def read_wording(file: str, options: tuple[str, ...]) -> dict[str, Any]:
    """What a file says.

    Args:
        file: a path, or the name of a bundled wording.
        options: the options that it may give.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no YAML of options, or gives one that the task does not have.
    """
    path = Path(file)
    bundled = _BUNDLED / f"{file}.yaml"
    if not path.is_file() and path.name == file and bundled.is_file():
        path = bundled
    if not path.is_file():
        raise FileNotFoundError(
            f"file: there is no wording {file!r}, neither as a file nor among the bundled ones: {bundled_wordings()}"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected some of the options {list(options)}, got {content!r}")  # noqa: TRY004  # a file is wrong
    if unknown := [name for name in content if name not in options]:
        raise ValueError(f"{path}: there is no option {unknown[0]!r}; expected some of {list(options)}")
    return content


def _listed(value: Any) -> Any:
    """A value for comparing: a tuple is the list that YAML makes of it."""
    return list(value) if isinstance(value, tuple) else value
