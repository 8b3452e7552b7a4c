"""Reading tables and plots in tests."""

from lit_listener.evaluation.results import Measured, ResultPlot, ResultTable


def cell(table: ResultTable, key: str, column: int = 0) -> Measured:
    """The cell of a line."""
    (line,) = (line for line in table.lines if line.key == key)
    return line.cells[column]


def means(table: ResultTable, column: int = 0) -> dict[str, float]:
    """The numbers of a column by the keys of the lines."""
    return {line.key: line.cells[column].interval.mean for line in table.lines}


def heights(plot: ResultPlot, curve: int = 0) -> list[float]:
    """The numbers of a curve."""
    return [point.y.interval.mean for point in plot.curves[curve].points]
