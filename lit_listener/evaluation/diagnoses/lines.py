"""Lines of a table from what was measured of each run."""

from collections.abc import Mapping, Sequence

from lit_listener.evaluation.results import Line, Measured

THINKS_NOT = "this judge does not think aloud"
"""Why a scorer has no figures about thoughts."""


def table_lines(names: Mapping[str, str], cells: Sequence[Mapping[str, Measured]]) -> tuple[Line, ...]:
    """One line a measure, with a cell a run.

    Args:
        names: What each measure is called, by its key, in the order of the lines.
        cells: What was measured of each run, by the same keys.
    """
    return tuple(Line(key, name, tuple(of_run[key] for of_run in cells)) for key, name in names.items())


def told(counts: Mapping[str, int], what: str) -> tuple[str, ...]:
    """A note that tells how many rows each run left out, and why; none where no run left any out.

    Args:
        counts: How many of them each run has, by the run's name.
        what: What they are and what was done with them: "ties between the voters are left out".
    """
    if not any(counts.values()):
        return ()
    numbers = ", ".join(f"{number:,} ({name})" for name, number in counts.items() if number)
    return (f"{what}: {numbers}.",)
