"""What jsonargparse's messages come down to."""

import re

_FRAME = re.compile(
    r"Parser key |Does not validate against|Subtypes: |Errors:|Problem with given class_path|"
    r"Expected a <class 'NoneType'>|Import path \S+ does not correspond to a subclass of "
)
"""Lines of jsonargparse's messages that frame the reasons."""


def one_reason(message: str) -> str:
    """The reason that jsonargparse gives among the types that a value might have been of, where there is but one.

    Args:
        message: what it says; the value that was given, which may be a whole config, is left out.
    """
    message = message.split("\n  Given value type:", maxsplit=1)[0]
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    reasons = [line for line in lines if line and not _FRAME.match(line)]
    if "Union subtypes" not in message or len(reasons) != 1:
        return message
    return ": ".join([*re.findall(r'Parser key "([^"]+)"', message), *reasons])
