import json
from pathlib import Path

import pytest

from lit_listener.evaluation.results import Curve, Line, Measured, Point, ResultPlot, ResultTable, undefined
from lit_listener.evaluation.results_file import write_results
from lit_listener.evaluation.section import Section
from lit_listener.evaluation.statistics import Interval

NAN = float("nan")
HALF = Measured(Interval(0.5, 0.25, 0.75), 8, 4)
ALONE = Measured(Interval(1.0, NAN, NAN), 2, 1, "share", "a single prompt has no interval")


def table(key="table_2", cells=(HALF, ALONE), line="accuracy/micro"):
    return ResultTable(key, "Accuracy", ("before", "after"), (Line(line, "accuracy", cells),), notes=("Ties: wrong.",))


def refuse_constants(name):
    raise AssertionError(f"{name} is no JSON")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constants)


def test_what_is_written(tmp_path):
    plot = ResultPlot(
        "figure_3",
        "Agreement",
        "agreement",
        "accuracy",
        (Curve("before", (Point(0.5, undefined("empty"), "50–60%"),)),),
    )
    path = tmp_path / "new" / "results.json"
    write_results(path, [Section("held_out", [table()], [plot])], {"versions": {"torch": "2.13"}, "pairs": 8})
    written = read(path)
    assert written["about"] == {"versions": {"torch": "2.13"}, "pairs": 8}
    source = written["sources"]["held_out"]
    expected = {"mean": 0.5, "low": 0.25, "high": 0.75, "rows": 8, "prompts": 4, "unit": "share", "reason": ""}
    assert source["measures"]["before"] == {"accuracy/micro": expected}
    alone = source["measures"]["after"]["accuracy/micro"]
    assert (alone["mean"], alone["low"], alone["high"]) == (1.0, None, None)
    assert alone["reason"] == "a single prompt has no interval"
    assert source["tables"]["table_2"]["notes"] == ["Ties: wrong."]
    (point,) = source["plots"]["figure_3"]["curves"]["before"]
    assert (point["x"], point["label"], point["mean"], point["reason"]) == (0.5, "50–60%", None, "empty")
    assert [found.name for found in path.parent.iterdir()] == ["results.json"]


def test_nothing_at_all(tmp_path):
    write_results(tmp_path / "results.json", [], {})
    assert read(tmp_path / "results.json") == {"about": {}, "sources": {}}


def test_about_holds_what_json_cannot(tmp_path):
    path = tmp_path / "results.json"
    write_results(path, [], {"loss": NAN, "run": Path("runs/a"), "bounds": (1, float("inf")), "none": None})
    assert read(path)["about"] == {"loss": "nan", "run": "runs/a", "bounds": [1, "inf"], "none": None}
    with pytest.raises(TypeError, match=r"about\.config\[1\] must hold texts.*got \{1\} of type set"):
        write_results(path, [], {"config": [0, {1}]})
    assert read(path)["about"]["loss"] == "nan"  # the file there was is kept


def test_one_measure_in_two_tables(tmp_path):
    path = tmp_path / "results.json"
    write_results(path, [Section("", [table(), table("table_3")], [])], {})
    other = Measured(Interval(0.75, 0.5, 1.0), 8, 4)
    with pytest.raises(ValueError, match=r"'after': 'accuracy/micro' of table 'table_3'.*0\.75.*different keys"):
        write_results(path, [Section("", [table(), table("table_3", (HALF, other))], [])], {})


def test_one_section_a_source(tmp_path):
    with pytest.raises(ValueError, match="one section a source, got two of 'held_out'"):
        write_results(tmp_path / "r.json", [Section("held_out", [], [])] * 2, {})
