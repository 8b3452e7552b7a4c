from dataclasses import replace

import pytest

from lit_listener.evaluation.results import ResultPlot, ResultTable
from lit_listener.evaluation.section import Section

TABLE = ResultTable("table_2", "Accuracy", ("run",), ())
PLOT = ResultPlot("figure_3", "Accuracy", "x", "y", ())


def test_results_are_tables_then_plots():
    assert Section("held_out", [TABLE], [PLOT]).results == (TABLE, PLOT)


def test_a_key_names_one_file():
    with pytest.raises(ValueError, match=r"'held_out'.*key of its own.*more than once: table_2"):
        Section("held_out", [TABLE], [replace(PLOT, key="table_2")])
