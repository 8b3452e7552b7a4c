"""``python -m lit_listener rank`` and ``compare``: what a trained judge says of image files: a table, JSON, a page.

Their options are those of ``Judge.load``, ``Judge.rank`` and ``Judge.compare``, read off these; images stand anywhere
among them. Everything is checked before the model is loaded, which may take minutes. The output holds the result alone:
what is told meanwhile goes to the error output.
"""

import argparse
import contextlib
import difflib
import inspect
import json
import re
import sys
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jsonargparse
from rich.console import Console, RenderableType
from rich.progress import Progress

from lit_listener.evaluation.replaced_file import replaced_file
from lit_listener.judging.display.exhibit import Exhibit, Shown
from lit_listener.judging.display.page import comparison_page, ranking_page
from lit_listener.judging.display.score_table import show_scores
from lit_listener.judging.display.terminal import show_comparison, show_ranking
from lit_listener.judging.image_files import brief_names, find_images
from lit_listener.judging.judge import Judge
from lit_listener.judging.pictures import picture
from lit_listener.judging.requests import CompareRequest, RankRequest, Request
from lit_listener.judging.results import Comparison, Ranking
from lit_listener.judging.reward_model import RewardModel, ScoredImages, is_reward_model
from lit_listener.judging.thoughts import Showing, Thought

_Result = TypeVar("_Result", Comparison, Ranking)

_WIDTH = 100
"""Columns of output to a file or a pipe."""
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}
_SWITCHES = {"json", "traces"} | {
    name
    for method in (Judge.load, Judge.rank, Judge.compare)
    for name, parameter in inspect.signature(method).parameters.items()
    if parameter.annotation is bool
}
"""Options that are true if they stand alone."""
_LOADING = tuple(name for name in inspect.signature(Judge.load).parameters if name != "task")
_LOADING_REWARD = tuple(inspect.signature(RewardModel.load).parameters)
_OF_SCORES = ("images", "prompt", "json", *_LOADING_REWARD)
"""Options of ``rank`` that a reward model has too."""
_ASKING = ("rollouts", "both_orders", "seed", "listen")
_FILES = (
    "image files, globs ('out/*.png') or folders (the images that lie in them, by name: img2 before img10); they may "
    "stand anywhere among the options"
)
_ANCHOR = (
    "the image that all others are compared with: its place among the images, counted from 0, or a file, which need "
    "not be one of them (if its name is a number, give ./NAME); by default the seed chooses one of them, where the "
    "judge needs one"
)


class _Parser(jsonargparse.ArgumentParser):
    """Help without the marks that docstrings have around names."""

    def format_help(self, formatter: argparse.HelpFormatter | None = None) -> str:
        """The help in plain text."""
        return super().format_help(formatter).replace("``", "")


def rank(words: Sequence[str]) -> None:
    """Rank images for a prompt.

    Args:
        words: images and options.

    Raises:
        FileNotFoundError: an image is not there.
        ValueError: an image or an option cannot be used.
    """
    parser = _parser("rank", ("images", "anchor"), "IMAGE [IMAGE ...]")
    parser.add_argument("--anchor", type=str | None, default=None, help=_ANCHOR)
    given, paths = _read(parser, words)
    if is_reward_model(given.model):
        _rank_by_scores(given, paths, parser.get_defaults())
        return
    place, anchor_file = _anchor(given.anchor, len(paths))
    files = [*paths, *([] if anchor_file is None else [anchor_file])]
    if anchor_file is not None and len({file.resolve() for file in files}) < 2:
        raise ValueError("rank: the one image is the --anchor itself: expected another one to compare it with")
    shown = [Shown(*each) for each in zip(brief_names(files), map(picture, files), strict=True)]
    images, anchor = tuple(shown[: len(paths)]), shown[-1] if anchor_file else None
    pictures = [image.picture for image in images]
    ranking = _answer(
        given, RankRequest(given.prompt, pictures, anchor=anchor.picture if anchor else place, **_asking(given))
    )
    exhibit = Exhibit(given.model, images, anchor)
    _print(given, paths, ranking, show_ranking(ranking, exhibit, given.traces))
    _write(given, lambda: ranking_page(ranking, exhibit))


def _rank_by_scores(given: jsonargparse.Namespace, paths: Sequence[Path], unasked: jsonargparse.Namespace) -> None:
    """Rank by a reward model, which compares nothing and writes nothing.

    Raises:
        ValueError: an option is given that only a judge has.
    """
    for name, value in given.items():
        if name not in _OF_SCORES and value != unasked.get(name):
            raise ValueError(
                f"--{name}: {given.model} is a reward model, which scores each image by itself: leave it out (of the "
                f"options it takes {', '.join(f'--{each}' for each in _OF_SCORES if each != 'images')})"
            )
    pictures = [picture(path) for path in paths]
    _tell(Console(stderr=True), f"Loading {given.model} …")
    with contextlib.redirect_stdout(sys.stderr):
        model = RewardModel.load(**{name: given[name] for name in _LOADING if name in _OF_SCORES})
        ranking = model.rank(given.prompt, pictures)
    _print(given, paths, ranking, show_scores(ranking, brief_names(paths), given.model))


def compare(words: Sequence[str]) -> None:
    """Compare two images for a prompt.

    Args:
        words: images and options.

    Raises:
        FileNotFoundError: an image is not there.
        ValueError: an image or an option cannot be used.
    """
    parser = _parser("compare", ("image_a", "image_b"), "IMAGE IMAGE")
    given, paths = _read(parser, words)
    if len(paths) != 2:
        raise ValueError(f"compare: expected exactly two images, got {len(paths)}; rank takes more")
    images = tuple(Shown(*each) for each in zip(brief_names(paths), map(picture, paths), strict=True))
    pictures = [image.picture for image in images]
    comparison = _answer(given, CompareRequest(given.prompt, pictures[0], pictures[1], **_asking(given)))
    exhibit = Exhibit(given.model, images)
    _print(given, paths, comparison, show_comparison(comparison, exhibit, given.traces))
    _write(given, lambda: comparison_page(comparison, exhibit))


# ---- what is typed ---------------------------------------------------------------------------------------------------


def _parser(command: str, images: tuple[str, ...], usage: str) -> _Parser:
    """The options of a command, which is named like the judge's method.

    Args:
        command: its name.
        images: the method's arguments that are no options.
        usage: how images are given.
    """
    prog = f"python -m lit_listener {command}"
    method = getattr(Judge, command)
    parser = _Parser(
        prog=prog,
        usage=f"{prog} --model MODEL --prompt PROMPT {usage} [options]",
        description=inspect.getdoc(method).partition("\n\n")[0],  # type: ignore[union-attr]  # it has one
        exit_on_error=False,
    )
    parser.add_argument("images", nargs="*", help=_FILES)
    output = parser.add_argument_group("Output")
    output.add_argument("--traces", type=bool, default=False, help="print the reasoning under the table")
    output.add_argument(
        "--json", type=bool, default=False, help="print one JSON document, traces included, in place of the table"
    )
    output.add_argument(
        "--html", type=Path | None, default=None, help="file to write a page to, with thumbnails and the reasoning"
    )
    parser.add_method_arguments(Judge, command, skip=set(images))
    parser.add_method_arguments(Judge, "load", skip={"task"})
    return parser


def _read(parser: _Parser, words: Sequence[str]) -> tuple[jsonargparse.Namespace, list[Path]]:
    """The options and the image files, each once and at least one."""
    options, images = _told_apart(words, parser._option_string_actions)
    try:
        given = parser.parse_args(options)
    except jsonargparse.ArgumentError as error:
        raise ValueError(f"{_reason(str(error))}; {parser.prog} --help lists the options") from error
    if not images:
        raise ValueError(f"expected images: {_FILES}")
    if given.html is not None and given.html.is_dir():
        raise ValueError(f"--html: expected a file to write, got the folder {given.html}")
    if given.html is not None and not given.html.absolute().parent.is_dir():
        raise ValueError(f"--html: there is no folder {given.html.parent} to write {given.html.name} to")
    return given, find_images(images)


def _told_apart(words: Sequence[str], known: Collection[str]) -> tuple[list[str], list[str]]:
    """The options, each spelt as one word with its value, and the images between them."""
    options, images = list[str](), list[str]()
    left = deque(words)
    while left:
        word = left.popleft()
        name, equals, _ = word.partition("=")
        if word == "--":  # what follows is images, whatever it looks like
            return options, [*images, *left]
        if not word.startswith("-"):
            images.append(word)
        elif name not in known:
            close = difflib.get_close_matches(name, known, 1)
            meant = f"did you mean {close[0]}?" if close else "an image of such a name is given as ./NAME"
            raise ValueError(f"there is no option {name}; {meant}")
        elif equals or name in ("-h", "--help"):
            options.append(word)
        elif name.removeprefix("--") in _SWITCHES:
            options.append(f"{name}={left.popleft() if left and left[0] in ('true', 'false') else 'true'}")
        elif not left or left[0].partition("=")[0] in known:
            raise ValueError(f"{name}: expected a value after it" + (f", got the option {left[0]}" if left else ""))
        else:
            options.append(f"{name}={left.popleft()}")
    return options, images


def _reason(message: str) -> str:
    """What jsonargparse's message comes down to."""
    missing = re.search("arguments are required: (.*)", message)
    if missing:
        return f"expected {', '.join(f'--{name}' for name in missing[1].split(', '))} as well"
    name, got = re.search('Parser key "([^"]+)"', message), re.search("(?:Got|Given) value: (.*)", message)
    kinds = [_KINDS[kind] for kind in re.findall(r"Expected a <class '(\w+)'>", message) if kind in _KINDS]
    if name and got and kinds:
        return f"--{name[1]}: expected {kinds[0]}, got {got[1]}"
    return " ".join(message.split())


def _anchor(given: str | None, images: int) -> tuple[int | None, Path | None]:
    """The anchor's place, or its file."""
    if given is None or not re.fullmatch("[+-]?[0-9]+", given):
        return None, None if given is None else Path(given)
    if not 0 <= int(given) < images:
        raise ValueError(f"--anchor: there is no image {given} among {images}; places count from 0")
    return int(given), None


def _asking(given: jsonargparse.Namespace) -> dict[str, Any]:
    return {name: given[name] for name in _ASKING}


# ---- judging ---------------------------------------------------------------------------------------------------------


def _answer(given: jsonargparse.Namespace, request: Request[_Result]) -> _Result:
    """Check the request as far as it goes without a judge, load the judge and let it think."""
    request.asking()
    with contextlib.redirect_stdout(sys.stderr):
        console = Console(stderr=True)
        _tell(console, f"Loading {given.model} …")
        judge = Judge.load(**{name: given[name] for name in _LOADING})
        if given.listen and not judge.can_listen:
            raise ValueError(
                f"--listen: no listener is known of {given.model}; name one with --listener, for instance the model "
                "that it was trained from"
            )
        plan = judge.plan(request)
        if not plan.showings:
            raise ValueError("rank: the one image is the --anchor itself: expected another one to compare it with")
        return plan.conclude(_thoughts(judge, plan.showings, console))


def _thoughts(judge: Judge, showings: Sequence[Showing], console: Console) -> list[list[Thought]]:
    """The thoughts about each showing, with a progress bar."""
    found: list[list[Thought]] = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        judging = progress.add_task("Judging", total=len(showings))
        for thoughts in judge.thoughts(showings):
            found.extend(thoughts)
            progress.advance(judging, len(thoughts))
    return found


# ---- what is shown ---------------------------------------------------------------------------------------------------


def _print(
    given: jsonargparse.Namespace,
    paths: Sequence[Path],
    result: Comparison | Ranking | ScoredImages,
    shown: RenderableType,
) -> None:
    if given.json:
        everything = {**result.to_dict(), "images": [str(path) for path in paths], "model": given.model}
        print(json.dumps(everything, indent=2, allow_nan=False))
        return
    console = Console()
    (console if console.is_terminal else Console(width=_WIDTH)).print(shown, highlight=False)


def _write(given: jsonargparse.Namespace, page: Callable[[], str]) -> None:
    """Write the page, if one is wanted; last, so that nothing is lost where it cannot be written."""
    if given.html is None:
        return
    with replaced_file(given.html) as beside:
        beside.write_text(page(), encoding="utf-8")
    _tell(Console(stderr=given.json), f"Page: {given.html}")


def _tell(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)
