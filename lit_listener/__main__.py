"""``python -m lit_listener``: dispatch to the commands; an error of use is one message and a non-zero exit."""

import os
import sys

_TRAINER_COMMANDS = ("fit", "validate", "test", "predict")
_OWN_COMMANDS = ("progress", "data")
_HELP = """usage: python -m lit_listener COMMAND [options]

Train a vision-language reasoner with GRPO and a listener to judge which of two images people prefer.

commands:
  fit        train: python -m lit_listener fit --config FILE [--config OVERLAY] [--model.… --data.… --trainer.…]
  validate   judge the config's validation pairs
  test       judge the config's test pairs; writes predictions.parquet
  predict    judge the config's test pairs, with no summary; writes predictions.parquet
  progress   what a training run changed: before against after on its test pairs, and its learning curves
  data       look at a data set before training: counts, agreement, and a sheet of sample pairs

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


def _run(command: str, options: list[str]) -> int:
    if command not in (*_TRAINER_COMMANDS, *_OWN_COMMANDS):
        raise ValueError(f"unknown command {command!r}; expected one of {[*_TRAINER_COMMANDS, *_OWN_COMMANDS]}")
    # imported here, so that help and a mistyped command do not wait for torch
    from lit_listener.training.terminal import quiet_libraries

    quiet_libraries()
    if command in _TRAINER_COMMANDS:
        from lit_listener.cli import build_cli

        build_cli([command, *options])
        return 0
    import jsonargparse

    from lit_listener import commands

    jsonargparse.auto_cli(getattr(commands, command), args=options, prog=f"python -m lit_listener {command}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
