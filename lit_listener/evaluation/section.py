"""What an evaluation has to tell of one data source: its tables and its plots."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lit_listener.evaluation.results import ResultPlot, ResultTable


@dataclass(frozen=True)
class Section:
    """The tables and plots of one source."""

    source: str
    """Name of the data source ("held_out"); empty where there is only one, without a name."""
    tables: Sequence[ResultTable]
    plots: Sequence[ResultPlot]

    def __post_init__(self) -> None:
        """Refuse two results that would be written to one file."""
        counts = Counter(result.key for result in self.results)
        twice = sorted(key for key, count in counts.items() if count > 1)
        if twice:
            raise ValueError(
                f"source {self.source!r}: each table and plot needs a key of its own, which names its files; given "
                f"more than once: {', '.join(twice)}"
            )

    @property
    def results(self) -> tuple[ResultTable | ResultPlot, ...]:
        """The tables, then the plots."""
        return (*self.tables, *self.plots)
