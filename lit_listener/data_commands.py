"""``python -m lit_listener data``: look at a data set, compare two, and write down which pairs a figure was made from.

A data set is named in one of four ways: ``shapes`` or ``scenes``; the path of a table of pairs; a YAML file with the
``class_path`` and ``init_args`` of a source, as configs have it; or a published source by its class's name in snake
case, its options after it (``hpdv2 --path DIR``) or, where two are named, behind a colon
(``hpdv2:path=DIR,split=test``).
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse
import yaml
from rich.console import Console

from lit_listener.data import sources
from lit_listener.data.look import counts_table, look
from lit_listener.data.manifest import check_manifest, write_manifest
from lit_listener.data.overlap import overlap, overlap_table
from lit_listener.data.records import PairSource
from lit_listener.data.scenes import RENDERERS as SCENES_RENDERERS
from lit_listener.data.scenes import ScenesPairs
from lit_listener.data.shapes import RENDERERS as SHAPES_RENDERERS
from lit_listener.data.shapes import ShapesPairs
from lit_listener.data.shapes.attempts import attempts
from lit_listener.data.sources.pairs import TablePairs
from lit_listener.data.sources.table import PairTable
from lit_listener.training.terminal import wide_terminal

_PROG = "python -m lit_listener data"
_YAML = (".yaml", ".yml")
_SIMULATED: dict[str, type[PairSource]] = {"shapes": ShapesPairs, "scenes": ScenesPairs}
_RENDERERS: Mapping[str, Iterable[str]] = {"shapes": SHAPES_RENDERERS, "scenes": SCENES_RENDERERS}


class _Parser(jsonargparse.ArgumentParser):
    """Answers a mistyped option with the error alone."""

    def print_usage(self, file: Any = None) -> None:
        """Print nothing: the error names ``--help``."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Leave out what was given."""
        super().error(message.split("\n  Given value type:", maxsplit=1)[0], ex)


def data(options: Sequence[str]) -> None:
    """Run one of the commands; the first of the options tells which."""
    command = {"overlap": _overlap, "manifest": _manifest, "draw": _draw}.get(options[0] if options else "")
    if command is None:
        _look(list(options))
    else:
        command(list(options[1:]))


def source_classes() -> dict[str, type[PairSource]]:
    """The published sources of pairs by the names that the command line has for them."""
    found = {name: getattr(sources, name) for name in sources.__all__}
    return {
        snake_case(name): kind
        for name, kind in found.items()
        if isinstance(kind, type) and issubclass(kind, PairSource) and kind is not PairTable
    }


def snake_case(name: str) -> str:
    """A class's name on the command line: PickAPic is pick_a_pic, HPDv2 is hpdv2."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})", "_", name).lower()


def open_source(source: str, options: Sequence[str] = (), **defaults: Any) -> PairSource:
    """Open a data set as the command line names it.

    Args:
        source: "shapes" or "scenes", a table's path, a YAML file, or a source's name; options behind a colon, as
            name=value.
        options: further options of the source, as ``--name value``.
        defaults: values of options that are not given, for sources that have them; a YAML file says all itself.

    Raises:
        FileNotFoundError: There is no such table.
        ValueError: No source that can be read, or one with other options.
    """
    name, _, behind = source.partition(":")
    known: dict[str, type[PairSource]] = {**_SIMULATED, **source_classes()}
    given = [f"--{option}" for option in behind.split(",") if option]
    if name in known and not Path(source).exists():
        return _opened(known[name], [*given, *options], f"{_PROG} {name}", {**_renderers(name), **defaults})
    if "=" in behind and not Path(source).exists():  # a table's path with options
        return _opened(PairTable, [f"--path={name}", *given, *options], f"{_PROG} {name}", defaults)
    if Path(source).suffix in _YAML:
        if options:
            raise ValueError(f"{source} says what its source is, and takes no options beside it; got {list(options)}")
        return _from_yaml(Path(source))
    looks_like_table = "/" in source or "." in source or "*" in source or Path(source).exists()
    if not looks_like_table:
        raise ValueError(f"there is no source {source!r}; expected a table's path, a YAML file, or one of {[*known]}")
    return _opened(PairTable, [f"--path={source}", *options], f"{_PROG} {source}", defaults)


def _opened(kind: type[PairSource], options: Sequence[str], prog: str, defaults: dict[str, Any]) -> PairSource:
    parser = _Parser(prog=prog, description=f"Options of {kind.__name__}; those of {_PROG} may stand beside them.")
    parser.add_class_arguments(kind, "source", fail_untyped=False)
    spelt = [re.sub(r"^--(?:columns\.)?", "--source.", option) for option in options]
    taken = {
        f"source.{name}": value
        for name, value in defaults.items()
        if f"--source.{name}" in parser._option_string_actions
    }
    parser.set_defaults(taken)
    opened: PairSource = parser.instantiate_classes(parser.parse_args(spelt)).source
    return opened


def _from_yaml(path: Path) -> PairSource:
    config = yaml.safe_load(path.read_text())
    if not isinstance(config, dict) or "class_path" not in config:
        there = f"the keys {sorted(map(str, config))}" if isinstance(config, dict) else repr(config)
        raise ValueError(f"{path}: expected a source as class_path and init_args, got {there}")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(PairSource, "source")
    try:
        opened: PairSource = parser.instantiate_classes(parser.parse_object({"source": config})).source
    except jsonargparse.ArgumentError as error:
        raise ValueError(f"{path}: {error}") from error
    return opened


def _look(options: list[str]) -> None:
    parser = _Parser(
        prog=_PROG,
        description="Look at a data set before training: counts, votes, agreement, image sizes, and a sheet of pairs. "
        "Other commands: data overlap A B, data manifest SOURCE, data draw PROMPT FOLDER; each has its own --help.",
    )
    parser.add_argument("source", type=str, help=_help_of_source())
    parser.add_argument("--sheet", type=Path | None, default=None, help="PNG file to write sample pairs to")
    parser.add_argument("--limit", type=int, default=1000, help="pairs to look at, at most, spread over the data set")
    given, others = _known(parser, options)
    pairs = open_source(given.source, others, size=given.limit, drop_ties=False)
    console = wide_terminal()
    if isinstance(pairs, TablePairs):
        console.print(counts_table(pairs))
        _tell_all(console, "Skipped", pairs.skipped)
        console.print()
    table, reasons = look(pairs, given.sheet, given.limit)
    console.print(table)
    _tell_all(console, "Unreadable", reasons)
    if given.sheet is not None and given.sheet.is_file():
        _tell(console, f"Sample pairs: {given.sheet}")


def _overlap(options: list[str]) -> None:
    parser = _Parser(
        prog=f"{_PROG} overlap",
        description="What two data sets share: prompts, but for case, spaces and punctuation, and images that look "
        "alike (by perceptual hash).",
    )
    parser.add_argument("first", type=str, help=f"such as training data; {_help_of_source()}")
    parser.add_argument("second", type=str, help="such as test data; named in the same ways")
    parser.add_argument("--distance", type=int, default=4, help="bits of 64 in which hashes of one image may differ")
    parser.add_argument(
        "--limit", type=int | None, default=None, help="pairs of each to look at, at most; null for all"
    )
    parser.add_argument("--images", type=bool, default=True, help="false compares prompts alone, which is much faster")
    given = parser.parse_args(options)
    names = (given.first, given.second)
    first, second = (open_source(name, size=given.limit or 1000) for name in names)
    found = overlap(first, second, distance=given.distance, limit=given.limit, images=given.images)
    console = wide_terminal()
    console.print(overlap_table(found, names))
    _tell_all(console, "Shared prompt", [repr(prompt) for prompt in found.prompts])
    _tell_all(console, "Shared image", [f"{a} = {b} ({bits} bits differ)" for a, b, bits in found.images])


def _manifest(options: list[str]) -> None:
    parser = _Parser(
        prog=f"{_PROG} manifest",
        description="Write down the pairs of a data set with hashes of their prompts and images, or check whether a "
        "data set still has those of a manifest.",
    )
    parser.add_argument("source", type=str, help=_help_of_source())
    parser.add_argument("--output", type=Path | None, default=None, help="file of JSON lines to write the manifest to")
    parser.add_argument("--check", type=Path | None, default=None, help="manifest to compare the data set with")
    given, others = _known(parser, options)
    if (given.output is None) == (given.check is None):
        raise ValueError("data manifest: name one file, to write with --output or to compare with by --check")
    pairs = open_source(given.source, others, size=1000)
    console = wide_terminal()
    if given.check is None:
        digest = write_manifest(pairs, given.output)
        _tell(console, f"Wrote {given.output}: {len(pairs):,} pairs, digest {digest}")
        return
    differences = check_manifest(pairs, given.check)
    if differences:
        raise ValueError("; ".join([f"{given.source} differs from {given.check}", *differences.lines()]))
    _tell(console, f"{given.source} has the {len(pairs):,} pairs of {given.check}")


def _draw(options: list[str]) -> None:
    parser = _Parser(
        prog=f"{_PROG} draw",
        description="Draw pictures for a prompt of the Shapes world, with a generator's slips, to try a judge on.",
    )
    parser.add_argument("prompt", type=str, help='such as "two red circles"')
    parser.add_argument("folder", type=Path, help="where to write them, as 1.png, 2.png, …")
    parser.add_argument("--count", type=int, default=9, help="how many")
    parser.add_argument("--renderer", type=str, default="flat", help=f"style: one of {sorted(SHAPES_RENDERERS)}")
    parser.add_argument("--seed", type=int, default=0, help="seed of the slips")
    given = parser.parse_args(options)
    drawn = attempts(given.prompt, given.count, given.renderer, given.seed)
    files = [given.folder / f"{place}.png" for place in range(1, len(drawn) + 1)]
    if there := [file for file in files if file.exists()]:
        raise FileExistsError(f"data draw: {there[0]} is there already; name another folder")
    given.folder.mkdir(parents=True, exist_ok=True)
    console = wide_terminal()
    for file, each in zip(files, drawn, strict=True):
        each.picture.save(file)
        _tell(console, f"{file}: {each.scene.caption}, {each.scene.finish}")
    prompt, folder = shlex.quote(given.prompt), shlex.quote(str(given.folder))
    _tell(console, f"Rank them: python -m lit_listener rank --model shapes --prompt {prompt} {folder}/*.png")


def _known(parser: _Parser, options: list[str]) -> tuple[jsonargparse.Namespace, list[str]]:
    """The command's own options, and those left for the source, each as one word."""
    own, others = list[str](), list[str]()
    rest = iter(options)
    for option in rest:
        name, equals, _ = option.partition("=")
        to = own if not option.startswith("--") or name in parser._option_string_actions else others
        if option.startswith("--") and not equals and name != "--help":
            value = next(rest, None)
            if value is None:
                raise ValueError(f"{option}: expected a value after it")
            to.append(f"{option}={value}")
        else:
            to.append(option)
    return parser.parse_args(own), others


def _renderers(name: str) -> dict[str, Any]:
    """All renderers of a simulated world; nothing of other sources."""
    return {"renderers": sorted(_RENDERERS[name])} if name in _RENDERERS else {}


def _help_of_source() -> str:
    named = ", ".join([*_SIMULATED, *source_classes()])
    return (
        f"a table's path, a YAML file with class_path and init_args, or one of {named}; options of the source beside "
        "it (--path DIR --split train --fraction 0.16), or behind a colon (hpdv2:path=DIR,split=train, "
        "pairs.csv:preferred=winner)"
    )


def _tell_all(console: Console, what: str, lines: Sequence[str]) -> None:
    for line in lines:
        _tell(console, f"{what}: {line}")


def _tell(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)
