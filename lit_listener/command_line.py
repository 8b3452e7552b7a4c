"""The command line before Lightning reads it: what was typed, which a config does not say; and how errors sound."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from lit_listener.training.run.evaluations import JUDGING, config_file, find_evaluation
from lit_listener.training.run.folder import find_run, newest_folder
from lit_listener.training.run.reasons import one_reason


class QuietParser(LightningArgumentParser):
    """Answers a mistyped option with the error alone, not with all ninety options and the whole config."""

    def print_usage(self, file: Any = None) -> None:
        """Print nothing: the error names ``--help``."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Leave out what was given, which is the config, and the types it is not of, if there is one real reason."""
        super().error(one_reason(message), ex)


def without_the_config(error: ValueError) -> ValueError:
    """What one of our options said: jsonargparse tells it among the types it tried, with the whole config after it."""
    said: BaseException = error
    while str(said).startswith("Does not validate against any") and said.__cause__ is not None:
        said = said.__cause__
    return error if said is error else ValueError(str(said))


@contextlib.contextmanager
def command_line(args: list[str]) -> Iterator[None]:
    """Lightning reads ``sys.argv``; children of a multi-process run repeat it."""
    before = sys.argv
    sys.argv = [before[0], *args]
    try:
        yield
    finally:
        sys.argv = before


def with_own_config(args: list[str]) -> list[str]:
    """A run that is gone on with without a config uses its own."""
    resume, own = typed("--resume", args), typed("--run_dir", args)
    if not resume or typed("--config", args) or typed("-c", args):
        return args
    if args[0] in JUDGING:
        own_config = config_file(find_evaluation(Path(resume), args[0]).folder, args[0])
        return [args[0], "--config", str(own_config), *args[1:]]
    if args[0] != "fit":
        return args
    folder = Path(own or newest_folder(None)) if resume == "auto" else Path(resume)
    return [args[0], "--config", str(find_run(folder).folder / "config.yaml"), *args[1:]]


def typed(option: str, args: list[str]) -> str | None:
    """What was typed for an option, as opposed to what a config says."""
    for place, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if name == option:
            return value if equals else "".join(args[place + 1 : place + 2])
    return None
