"""The command line before Lightning reads it: what was typed, which a config does not say; and how errors sound."""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse
from lightning.pytorch.cli import LightningArgumentParser

from lit_listener.training.run.evaluations import JUDGING, config_file, find_evaluation
from lit_listener.training.run.folder import find_run, newest_folder
from lit_listener.training.run.option_names import full_name, meant_option
from lit_listener.training.run.reasons import one_reason


class QuietParser(LightningArgumentParser):
    """Answers a mistyped option with the error alone, not with all ninety options and the whole config."""

    def print_usage(self, file: Any = None) -> None:
        """Print nothing: the error names ``--help``."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Leave out what was given, which is the config, and the types it is not of, if there is one real reason.

        Parsers of classes within the config come here too, so that each names the option that is nearest to a mistyped
        one of its own.
        """
        of: jsonargparse.ArgumentParser = getattr(ex, "subcommand_parser", None) or self
        super().error(full_name(one_reason(meant_option(message, _options(of)))), ex)


def _options(parser: jsonargparse.ArgumentParser) -> set[str]:
    """Dotted names of a parser's options; those of the command that was typed, where it has commands."""
    names = set()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            typed_command = parser.args[0] if parser.args else ""
            if typed_command in action.choices:
                return _options(action.choices[typed_command])
        elif action.option_strings:
            names |= {option.removeprefix("--") for option in action.option_strings if option.startswith("--")}
    return {name for name in names if not name.endswith("help") and not name.startswith("print_shtab")}


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
