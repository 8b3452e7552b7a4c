"""What jsonargparse says of an option that there is not, and which option was meant."""

import difflib
import re
from collections.abc import Collection, Iterable

_NOT_THERE = (
    re.compile(r"Option '(?P<name>[^']+)' is not accepted"),
    re.compile(r"Group '(?P<group>[^']+)' does not accept option '(?P<name>[^']+)'"),
    re.compile(r"Subcommand '[^']+' does not accept option '(?P<name>[^']+)'"),
)
"""What it says of a key of a config."""
_UNRECOGNIZED = "unrecognized arguments: "
"""What it says of words of the command line."""
_ONE_LINE = re.compile(
    r"(?P<within>(?:[\w.]+: )+)there is no option (?P<name>\S+?); "
    r"(?:did you mean (?P<meant>\S+)\?|(?P<there>there are .*))"
)
_MOST_LISTED = 30
"""Options that are listed where none is near: more would hide the error."""


def meant_option(message: str, known: Collection[str]) -> str:
    """The message, if it is about an option that there is not, with the one that was meant; any other stays.

    Args:
        message: what a parser says.
        known: names of the options of this parser, dotted: "data.batch_size".
    """
    name = _unknown(message, known)
    if name is None:
        return message
    meant = nearest(name, known)
    if meant is not None:
        return f"there is no option {name}; did you mean {meant}?"
    within = name.rpartition(".")[0]
    there = sorted(_next_parts(known, within))
    if not there or len(there) > _MOST_LISTED:
        return f"there is no option {name}"
    return f"there is no option {name}; there are {', '.join(there)}"


def full_name(message: str) -> str:
    """The message with an option by its full name, where an outer parser has said what it is an option of."""
    found = _ONE_LINE.fullmatch(message)
    if found is None:
        return message
    within = found["within"].replace(": ", ".")
    said = f"there is no option {within}{found['name']}; "
    return said + (f"did you mean {within}{found['meant']}?" if found["meant"] else found["there"])


def nearest(name: str, known: Collection[str]) -> str | None:
    """The option that was meant: part by part the one that is spelt most like it, or the same in another group.

    Args:
        name: what was written.
        known: the options there are.
    """
    parts = [part for part in name.split(".") if part != "init_args"]  # which the command line may leave out
    elsewhere = [option for option in known if option.endswith(f".{parts[-1]}")]
    if len(parts) == 1 and len(elsewhere) == 1:
        return elsewhere[0]
    found = ""
    for place, part in enumerate(parts):
        there = _next_parts(known, found)
        if not there:  # options of a class, which another parser knows
            return ".".join([found, *parts[place:]])
        close = [part] if part in there else difflib.get_close_matches(part, there, 1)
        if not close:
            return None
        found = f"{found}.{close[0]}" if found else close[0]
    return found


def _unknown(message: str, known: Collection[str]) -> str | None:
    if message.startswith(_UNRECOGNIZED):
        words = [word.partition("=")[0] for word in message.removeprefix(_UNRECOGNIZED).split()]
        names = [word.removeprefix("--") for word in words if word.startswith("--")]
        return next((name for name in names if name not in known), None)
    for pattern in _NOT_THERE:
        if found := pattern.fullmatch(message):
            group = found.groupdict().get("group")
            return f"{group}.{found['name']}" if group else found["name"]
    return None


def _next_parts(known: Iterable[str], within: str) -> set[str]:
    """The names one part below ``within``, which is "" for the first parts."""
    before = f"{within}." if within else ""
    return {name.removeprefix(before).partition(".")[0] for name in known if name.startswith(before)}
