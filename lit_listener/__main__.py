"""``python -m lit_listener``: dispatch to the commands; an error of use is one message and a non-zero exit."""

import difflib
import inspect
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_TRAINER_COMMANDS = ("fit", "validate", "test", "predict")
_OWN_COMMANDS = ("report", "progress", "study", "data", "export")
_JUDGE_COMMANDS = ("rank", "compare", "serve")
_HELP = """usage: python -m lit_listener COMMAND [options]

Train a vision-language reasoner with GRPO and a listener to judge which of two images people prefer.

commands:
  fit        train: python -m lit_listener fit --config FILE [--config OVERLAY] [--model.… --data.… --trainer.…]
             go on with a run that stopped: python -m lit_listener fit --resume RUN_DIR
             what a step will hold in memory: python -m lit_listener fit --config FILE --print_plan [--plan_for_gib N]
  validate   judge the config's validation pairs
  test       judge the config's test pairs; writes predictions.parquet and results.json
             go on with one that was broken off: python -m lit_listener test --resume RUN_DIR
  predict    judge the config's test pairs, with no summary; writes predictions.parquet
  report     every table and figure of one test run or several: python -m lit_listener report RUN_DIR [RUN_DIR …]
  progress   what a training run changed: before against after on its test pairs, and its learning curves
  study      the papers' tables in miniature: trains and tests every arm, several seeds each [--quick]
  data       look at a data set before training: counts, agreement, and a sheet of sample pairs; data overlap A B: what
             two share; data manifest SOURCE: which pairs a figure is made from; data draw PROMPT FOLDER: toy pictures
  export     write what a run trained as a Hugging Face folder: an adapter, or full weights with --merge
  rank       rank images for a prompt: python -m lit_listener rank --model M --prompt TEXT IMAGE IMAGE [IMAGE …]
             M is shapes (the bundled judge), a run, a checkpoint, an exported folder, or a hub id
  compare    tell which of two images people would prefer: python -m lit_listener compare --model M --prompt TEXT A B
  serve      do both over HTTP, with a web page: python -m lit_listener serve --model M [--port 8000]

Each command's options, with units and ranges: python -m lit_listener COMMAND --help
"""


def main(args: list[str] | None = None) -> int:
    """Run one command. Returns the exit status."""
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        print(_HELP)
        return 0 if args else 2
    try:
        return _run(args[0], args[1:])
    except (ValueError, OSError, ArithmeticError, ImportError) as error:
        if os.environ.get("LIT_LISTENER_DEBUG"):
            raise
        print(f"error: {error}\n(LIT_LISTENER_DEBUG=1 shows where)", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print(str(interrupt) or "interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _run(command: str, options: list[str]) -> int:
    commands_there_are = [*_TRAINER_COMMANDS, *_OWN_COMMANDS, *_JUDGE_COMMANDS]
    if command not in commands_there_are:
        near = difflib.get_close_matches(command, commands_there_are, n=1, cutoff=0.7)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"unknown command {command!r}; expected one of {commands_there_are}{meant}")
    if command in _JUDGE_COMMANDS:
        _judge(command, options)
        return 0
    # imported here, so that help and a mistyped command do not wait for torch
    from lit_listener.training.terminal import quiet_libraries

    quiet_libraries()
    if command in _TRAINER_COMMANDS:
        from lit_listener.cli import build_cli

        build_cli([command, *options])
        return 0
    if command == "data":  # has commands of its own
        from lit_listener.data_commands import data

        data(options)
        return 0
    from lit_listener import commands

    _call(getattr(commands, command), options, f"python -m lit_listener {command}")
    return 0


def _judge(command: str, options: list[str]) -> None:
    """Run a command that judges; none of them waits for what only training needs."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # of weights that are read: the commands say themselves what they wait for
    if command == "serve":
        from lit_listener.judging.server.run import serve

        _call(serve, options, "python -m lit_listener serve")
        return
    from lit_listener import judge_commands

    {"rank": judge_commands.rank, "compare": judge_commands.compare}[command](options)


def _call(command: Callable[..., None], options: list[str], prog: str) -> None:
    """Call a function with its options.

    A keyword-only one is given all by name, a bare switch is true, and a list of paths stands before all options.
    """
    import jsonargparse

    parameters = inspect.signature(command).parameters
    switches = {f"--{name}" for name, parameter in parameters.items() if parameter.annotation is bool}
    spelt_out: list[str] = []
    if any(parameter.annotation == list[Path] for parameter in parameters.values()):  # the first one, as it is typed
        paths = list(itertools.takewhile(lambda option: not option.startswith("-"), options))
        options = options[len(paths) :]
        spelt_out = [json.dumps(paths)] if paths else []
    for place, option in enumerate(options):
        spelt_out.append(option)
        if option in switches and options[place + 1 : place + 2] not in (["true"], ["false"]):
            spelt_out.append("true")
    by_name = all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters.values())
    parser = jsonargparse.auto_parser(command, as_positional=not by_name, prog=prog)
    given = parser.parse_args(spelt_out).as_dict()
    command(**{name: given[name] for name in parameters})  # called here: jsonargparse would keep --config for itself


if __name__ == "__main__":
    sys.exit(main())
