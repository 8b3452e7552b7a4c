import re
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from lit_listener.evaluation.results import Line, Measured, ResultTable, undefined
from lit_listener.evaluation.statistics import Interval
from lit_listener.evaluation.tables import (
    CAPTION,
    BeforeAfter,
    before_after_markdown,
    before_after_table,
    result_table,
)

NAN = float("nan")


@pytest.fixture
def rows() -> dict[str, BeforeAfter]:
    before = {
        "accuracy": Interval(0.5634, 0.5401, 0.5849),
        "p_correct": Interval(0.5, 0.45, 0.55),
        "listener_p_correct": Interval(NAN, NAN, NAN),
        "contradiction_share": Interval(0.25, NAN, NAN),
        "unparsable_share": Interval(0.0, 0.0, 0.0),
        "length": Interval(40.0, 38.0, 42.0),
    }
    after = {**before, "accuracy": Interval(1.0, 1.0, 1.0)}
    difference = {
        "accuracy": Interval(0.1021, 0.0714, 0.1333),
        "p_correct": Interval(-0.0002, -0.031, 0.0004),
        "listener_p_correct": Interval(NAN, NAN, NAN),
        "contradiction_share": Interval(-0.125, NAN, NAN),
        "unparsable_share": Interval(0.0, 0.0, 0.0),
    }
    held_in = BeforeAfter(before, after, difference)
    return {"held-in": held_in, "held-out": replace(held_in, before=after)}


def render(table, width: int = 100) -> str:
    console = Console(width=width, file=StringIO(), force_terminal=False)
    console.print(table)
    return console.file.getvalue()


def test_markdown_by_hand(rows):
    expected = f"""\
| split | measure | before | after | difference |
|---|---|---:|---:|---:|
| held-in | accuracy | 56.3% [54.0, 58.5] | 100.0% [100.0, 100.0] | +10.2 [+7.1, +13.3] |
| held-in | mean p(correct) | 50.0% [45.0, 55.0] | 50.0% [45.0, 55.0] | +0.0 [-3.1, +0.0] |
| held-in | listener's p(correct) | n/a | n/a | n/a |
| held-in | contradiction share | 25.0% [n/a] | 25.0% [n/a] | -12.5 [n/a] |
| held-in | unparsable share | 0.0% [0.0, 0.0] | 0.0% [0.0, 0.0] | +0.0 [+0.0, +0.0] |

{CAPTION}
"""
    assert before_after_markdown({"held-in": rows["held-in"]}) == expected


def test_the_terminal_shows_the_same_cells_at_100_columns(rows):
    shown = [line.strip() for line in render(before_after_table(rows)).splitlines()]
    markdown = before_after_markdown(rows).splitlines()[2:12]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown]
    expected = [cell for cell in cells if cell[0] == "held-in"], [cell for cell in cells if cell[0] == "held-out"]
    for split, lines in zip(("held-in", "held-out"), expected, strict=True):
        place = shown.index(split)
        for below, (_, *texts) in enumerate(lines, start=1):
            assert re.split(r"\s{2,}", shown[place + below]) == texts
    assert shown[-2:] == CAPTION.splitlines()


def test_the_widest_cells_fit_in_100_columns(rows):
    widest = dict.fromkeys(rows["held-in"].before, Interval(1.0, 1.0, 1.0))
    negative = dict.fromkeys(widest, Interval(-1.0, -1.0, -1.0))
    shown = render(before_after_table({"held-in": BeforeAfter(widest, widest, negative)}))
    assert shown.count("100.0% [100.0, 100.0]") == 10
    assert shown.count("-100.0 [-100.0, -100.0]") == 5


def test_a_narrow_terminal_cuts_nothing_off(rows):
    shown = render(before_after_table(rows), width=60)
    assert "…" not in shown
    assert max(len(line) for line in shown.splitlines()) <= 60
    assert sorted(re.findall(r"[\d.]+", shown)) == sorted(re.findall(r"[\d.]+", render(before_after_table(rows))))


def test_before_after_and_difference_stand_under_their_headings(rows):
    lines = render(before_after_table({"held-in": rows["held-in"]})).splitlines()
    heading = next(line for line in lines if "before" in line)
    accuracy = next(line for line in lines if "accuracy" in line)
    for name, cell in (("before", "58.5]"), ("after", "100.0]"), ("difference", "+13.3]")):
        assert heading.index(name) + len(name) == accuracy.rindex(cell) + len(cell)


def test_names_in_brackets_and_bars_are_kept(rows):
    odd = {"[bold] a|b": rows["held-in"]}
    assert "[bold] a|b" in render(before_after_table(odd))
    assert "| [bold] a\\|b | accuracy |" in before_after_markdown(odd)


@pytest.mark.parametrize("make", [before_after_table, before_after_markdown])
def test_a_missing_measure_is_named(rows, make):
    whole = rows["held-in"]
    without = {key: value for key, value in whole.after.items() if key != "p_correct"}
    with pytest.raises(ValueError, match="split 'held-out', after: the table needs 'p_correct', got only"):
        make({"held-in": whole, "held-out": replace(whole, after=without)})


def result(*cells, columns=("base_model_before_training", "listener_grpo"), name="accuracy"):
    line = Line("accuracy/micro", name, cells)
    return ResultTable("table_2", "Accuracy", columns, (line,), "Listener paper, Table 2", ("Ties count as wrong.",))


def printed(table, width=100):
    console = Console(file=StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def test_result_table():
    known = Measured(Interval(0.5634, 0.5401, 0.5849), 240, 120)
    text = printed(result_table(result(known, undefined("each pair was shown in one order"))))
    lines = text.splitlines()
    assert lines[0].strip() == "Accuracy (Listener paper, Table 2)"
    assert re.search(r"base_model_before_training +listener_grpo", text)
    assert re.search(r"accuracy +56\.3% \[54\.0, 58\.5\] +– \(1\)", text)
    assert "(1) each pair was shown in one order" in [line.strip() for line in lines]
    assert "In brackets: 95% intervals" in text
    assert "Ties count as wrong." in text


def test_result_table_of_two_runs_fits_100_columns():
    cell = Measured(Interval(-1.0, -1.0, 1.0), 1, 1, "points", "a reason")  # -100.0 [-100.0, +100.0] (1)
    long = "a measure whose name is so long that no line of a terminal could ever hold it together with two numbers"
    text = printed(result_table(result(cell, cell, name=long)))
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("-100.0 [-100.0, +100.0] (1)") == 2  # the name gives way, not the numbers


def test_result_table_takes_brackets_for_text():
    text = printed(result_table(result(undefined("see [bold]"), columns=("[red]run",), name="[blink]share")))
    assert "[red]run" in text
    assert "[blink]share" in text
    assert "(1) see [bold]" in text


def test_result_table_without_lines_or_intervals():
    text = printed(result_table(ResultTable("t", "Empty", (), ())))
    assert "Empty" in text
    assert "In brackets" not in text
