import importlib.util
import sys

import numpy as np
import pytest

from lit_listener.evaluation import learning_curves as figures
from lit_listener.evaluation.learning_curves import Series, curves_figure, learning_curves, read_metrics, running_mean

PNG = b"\x89PNG\r\n\x1a\n"
# As Lightning writes it: training and validation rows apart, blanks between; step 1 again after a resume.
CSV = """\
epoch,policy/entropy,policy/kl,reward/total,step,val/accuracy/dataloader_idx_0,val/accuracy/dataloader_idx_1,val/p_correct
0,0.6,0.05,1.2,0,,,
0,,,,0,0.55,0.6,
0,0.5,0.06,1.0,1,,,
0,0.5,0.06,1.3,1,,,
0,0.4,nan,1.4,2,,,
0,,,,2,0.7,0.75,
"""


@pytest.fixture
def metrics_csv(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(CSV)
    return path


def panels(figure):
    return {axis.get_title(loc="left"): axis for axis in figure.axes}


def labelled(axis):
    return {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}


def test_running_mean_by_hand():
    # Window 3: (1+2)/2, (1+2+6)/3, (2+6+1)/3, (6+1)/2.
    assert running_mean(np.array([1.0, 2.0, 6.0, 1.0]), 3) == pytest.approx([1.5, 3.0, 3.0, 3.5])
    assert running_mean(np.array([1.0, 2.0, 6.0]), 1) == pytest.approx([1.0, 2.0, 6.0])
    assert running_mean(np.array([4.0]), 9) == pytest.approx([4.0])


def test_running_mean_matches_a_loop():
    values = np.random.default_rng(0).normal(size=50)
    for window in (1, 5, 11, 200):
        half = window // 2
        expected = [values[max(0, i - half) : i + half + 1].mean() for i in range(50)]
        assert running_mean(values, window) == pytest.approx(expected, abs=1e-12)


def test_read_metrics(metrics_csv):
    metrics = read_metrics(metrics_csv)
    assert "val/p_correct" not in metrics  # never logged
    assert metrics["reward/total"].steps.tolist() == [0, 1, 2]
    assert metrics["reward/total"].values.tolist() == [1.2, 1.3, 1.4]  # what was logged last at step 1
    assert metrics["policy/kl"].steps.tolist() == [0, 1]  # nan is no value
    assert metrics["val/accuracy/dataloader_idx_1"].values.tolist() == [0.6, 0.75]


def test_a_row_cut_short_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,reward/total,policy/kl\n0,1.0,0.1\n1,1.5")
    metrics = read_metrics(path)
    assert metrics["reward/total"].values.tolist() == [1.0, 1.5]
    assert metrics["policy/kl"].values.tolist() == [0.1]


def test_panels_hold_what_was_logged(metrics_csv):
    drawn = panels(curves_figure(read_metrics(metrics_csv), "a run"))
    assert list(drawn) == [
        "Reward",
        "Listener",
        "Policy",
        "Groups and completions",
        "Completion length",
        "Validation",
    ]
    assert list(labelled(drawn["Reward"])) == ["total"]
    assert len(drawn["Reward"].lines) == 2  # faint and bold
    assert labelled(drawn["Policy"])["entropy"].get_xdata().tolist() == [0, 1, 2]
    assert drawn["Policy"].get_yscale() == "log"
    assert drawn["Policy"].get_ylabel() == "nats per token (log scale)"
    validation = labelled(drawn["Validation"])
    assert list(validation) == ["accuracy, set 0", "accuracy, set 1"]
    assert validation["accuracy, set 1"].get_ydata().tolist() == [0.6, 0.75]
    for title in ("Listener", "Groups and completions", "Completion length"):
        assert drawn[title].texts[0].get_text().startswith("no data for\n")
        assert not drawn[title].lines
    assert not drawn["Reward"].texts


def test_the_bold_line_is_the_running_mean():
    series = Series(np.arange(60.0), np.random.default_rng(0).normal(size=60))
    faint, bold = panels(curves_figure({"completion/length": series}))["Completion length"].lines
    assert faint.get_ydata().tolist() == series.values.tolist()
    assert bold.get_ydata() == pytest.approx(running_mean(series.values, 4))
    assert bold.get_linewidth() > faint.get_linewidth()


def test_validation_without_suffix_and_with_names():
    series = Series(np.array([0.0, 5.0]), np.array([0.5, 0.6]))
    keys = ("val/accuracy", "val/accuracy/held-out", "val/contradiction_share/held-out", "val/p_correct")
    axis = panels(curves_figure(dict.fromkeys(keys, series)))["Validation"]
    lines = labelled(axis)
    assert list(lines) == ["accuracy", "accuracy, held-out", "contradictions, held-out"]
    # One colour a set; the measures differ in dash and marker.
    assert lines["accuracy, held-out"].get_color() == lines["contradictions, held-out"].get_color()
    assert lines["accuracy"].get_color() != lines["accuracy, held-out"].get_color()
    assert lines["accuracy, held-out"].get_marker() != lines["contradictions, held-out"].get_marker()


def test_lines_of_a_panel_differ_without_colour():
    series = Series(np.arange(30.0), np.ones(30))
    keys = ("reward/total", "reward/format", "reward/accuracy", "reward/listener")
    axis = panels(curves_figure(dict.fromkeys(keys, series)))["Reward"]
    assert len({line.get_linestyle() for line in labelled(axis).values()}) == 4


def test_a_kl_of_zero_keeps_the_axis_linear():
    steps = np.array([0.0, 1.0])
    metrics = {"policy/kl": Series(steps, np.array([0.0, 0.1])), "policy/entropy": Series(steps, np.array([0.5, 0.4]))}
    axis = panels(curves_figure(metrics))["Policy"]
    assert axis.get_yscale() == "linear"
    assert axis.get_ylabel() == "nats per token"


def test_writes_a_png_and_nothing_beside_it(metrics_csv, tmp_path):
    output = tmp_path / "figures" / "curves.png"
    learning_curves(metrics_csv, output, "a run")
    assert output.read_bytes().startswith(PNG)
    assert list(output.parent.iterdir()) == [output]


def test_errors(tmp_path):
    path, output = tmp_path / "metrics.csv", tmp_path / "curves.png"
    with pytest.raises(FileNotFoundError, match="no metrics at"):
        learning_curves(path, output)
    for empty in ("", "epoch,step,reward/total\n"):
        path.write_text(empty)
        with pytest.raises(ValueError, match="holds no rows"):
            learning_curves(path, output)
    path.write_text("epoch,reward/total\n0,1.0\n")
    with pytest.raises(ValueError, match=r"must have a 'step' column, got \['epoch', 'reward/total'\]"):
        learning_curves(path, output)
    path.write_text("step,reward/total\n0,1.0\n1,high\n")
    with pytest.raises(ValueError, match="line 3: column 'reward/total' must hold numbers, got 'high'"):
        learning_curves(path, output)
    assert not output.exists()


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    spec = importlib.util.spec_from_file_location("figures_without_matplotlib", figures.__file__)
    with pytest.raises(ImportError, match=r"figures need matplotlib: pip install 'lit-listener\[plots\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
