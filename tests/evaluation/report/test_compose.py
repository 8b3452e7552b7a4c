import pytest

from lit_listener.evaluation.report.compose import write_report
from lit_listener.evaluation.report.sample import sample
from lit_listener.evaluation.section import Section


def test_write_report(runs, images, sections, about, tmp_path):
    output = tmp_path / "new" / "report"
    path = write_report(tuple(runs), sections, sample(runs, images), output, about)
    assert path == output / "report.html"
    text = path.read_text(encoding="utf-8")
    assert "<title>Evaluation of base_model_before_training and listener_grpo</title>" in text
    assert text.count('<img src="data:image/png;base64,') == 4  # a picture a plot
    pictures = {found.name for found in (output / "figures").iterdir()}
    tables = {found.name for found in (output / "data").iterdir()}
    assert len(pictures) == 4
    assert len(tables) == 7  # of 3 tables and 4 plots
    assert {"held_in-figure_3.png", "held_in-reliability.png"} <= pictures
    assert {"held_in-figure_3.csv", "held_in-table_2.csv"} <= tables
    (output / "data" / "of-an-earlier-report.csv").touch()
    (output / "notes.txt").touch()  # somebody's own
    write_report(tuple(runs), sections, None, output, about)  # again, over the first
    assert not (output / "data" / "of-an-earlier-report.csv").exists()
    (output / "notes.txt").unlink()
    assert {found.name for found in output.iterdir()} == {"report.html", "figures", "data"}
    assert 'id="samples"' not in path.read_text(encoding="utf-8")


def test_a_lone_surrogate_costs_no_report(predict, tmp_path):
    rows = [predict(prompt="half a smile \ud83d", category="\ud83d")]
    section = Section("\ud83d", [], [])
    path = write_report(["run \ud83d"], [section], sample({"run \ud83d": rows}, lambda row: None), tmp_path, {})
    assert "Evaluation of run ?" in path.read_text(encoding="utf-8")


def test_what_no_report_can_be_made_of(tmp_path):
    with pytest.raises(ValueError, match="at least one run, got none"):
        write_report([], [], None, tmp_path / "report", {})
    with pytest.raises(ValueError, match=r"one section a source, got \['a', 'a'\]"):
        write_report(["run"], [Section("a", [], [])] * 2, None, tmp_path / "report", {})
    assert not (tmp_path / "report").exists()
