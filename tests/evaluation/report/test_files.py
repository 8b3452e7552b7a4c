import csv
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_listener.evaluation.report.files import file_stem, plot_csv, slug, table_csv, write_csvs
from lit_listener.evaluation.results import Line


def rows(text):
    return list(csv.DictReader(text.splitlines()))


def test_table_csv(table):
    first, second, flips, *_ = rows(table_csv(table))
    assert first == {
        "key": "accuracy/micro", "name": "accuracy", "run": "base_model_before_training", "mean": "0.5634",
        "low": "0.5401", "high": "0.5849", "rows": "240", "prompts": "120", "unit": "share", "reason": "",
    }  # fmt: skip
    assert (second["run"], second["mean"]) == ("listener_grpo", "0.6512")
    assert (flips["mean"], flips["low"], flips["reason"]) == ("", "", "each pair was shown in one order")


def test_plot_csv(plot):
    first, second, *_ = rows(plot_csv(plot))
    assert (first["key"], first["run"], first["x"]) == ("figure_3", "base_model_before_training", "0.5")
    assert (first["mean"], first["reason"]) == ("", "no pair has so little agreement")
    assert (second["name"], second["mean"], second["unit"]) == ("60–70%", repr(0.52 + 0.06), "share")


def test_names_are_quoted(table):
    odd = 'a, "b"\nc'
    line = Line(odd, odd, table.lines[0].cells)
    text = table_csv(replace(table, lines=(line,)))
    first = next(csv.DictReader(text.splitlines(keepends=True)))
    assert (first["key"], first["name"]) == (odd, odd)


def test_write_csvs(sections, tmp_path):
    written = write_csvs(sections[0], tmp_path / "data")
    assert [path.name for path in written] == [
        "held_in-table_2.csv", "held_in-by_generator.csv", "held_in-figure_3.csv", "held_in-reliability.csv",
        "held_in-categories.csv",
    ]  # fmt: skip
    assert {path.name for path in (tmp_path / "data").iterdir()} == {path.name for path in written}
    assert written[0].read_text(encoding="utf-8") == table_csv(sections[0].tables[0])


def test_slug():
    assert slug("held_out.v2") == "held_out.v2"
    assert re.fullmatch(r"held_out-[0-9a-f]{8}", slug("held out"))
    assert re.fullmatch(r"unnamed-[0-9a-f]{8}", slug(""))
    assert re.fullmatch(r"etc_passwd-[0-9a-f]{8}", slug("../../etc/passwd"))
    assert file_stem("a", "b") == "a-b"


@pytest.mark.parametrize("pair", [("a b", "a/b"), ("A", "a"), ("x" * 200, "x" * 201), ("", "unnamed"), ("é", "è")])
def test_slugs_stay_apart(pair):
    assert slug(pair[0]) != slug(pair[1])


@given(st.text())
def test_slugs_are_safe(name):
    assert re.fullmatch(r"[a-z0-9_][a-z0-9_.-]{0,79}", slug(name))
