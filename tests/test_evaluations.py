"""Evaluations by the command line: broken off anywhere, gone on with, and refused where figures would be mixed."""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.predictions_file import read_predictions
from lit_listener.training.run.evaluations import PARTS
from tests.test_cli import call, config, refuse, shapes  # noqa: F401  # a fixture

ROOT = Path(__file__).parent.parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Prediction]:
    """What a test run finds that nothing breaks off."""
    folder = tmp_path_factory.mktemp("whole")
    assert call("test", "--config", written(folder), "--run_dir", folder / "run") == 0
    return read_predictions(folder / "run" / "predictions.parquet")


def written(folder: Path) -> Path:
    """A config of a test run."""
    content = config()
    content["model"]["init_args"]["evaluation"] = {"rollouts": 2}
    content["data"] |= {"test": {"held_in": shapes(36, "test")}, "eval_batch_size": 2, "eval_orders": "both"}
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def break_off(path: Path, run: Path, how: signal.Signals) -> subprocess.Popen[Any]:
    """A test run by a process that is ended once some of its pairs are judged."""
    command = [sys.executable, "-m", "lit_listener", "test", "--config", str(path), "--run_dir", str(run)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 120
    while len(list((run / PARTS).glob("*.parquet"))) < 2:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(how)
    process.wait(60)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_evaluation_that_was_broken_off_goes_on(path, whole, tmp_path, how, capsys):
    broken = tmp_path / "broken"
    process = break_off(path, broken, how)
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert f"Go on with: python -m lit_listener test --resume {broken}" in process.stderr.read()
    done = len(list((broken / PARTS).glob("*.parquet")))
    assert 2 <= done < 36
    assert call("test", "--resume", broken, "--data.eval_batch_size", 8) == 0  # no figure depends on the batch
    assert f"Going on with {broken}" in capsys.readouterr().out
    assert len(whole) == 36 * 2 * 2
    for before, after in zip(whole, read_predictions(broken / "predictions.parquet"), strict=True):
        for name, value in asdict(before).items():
            expected = pytest.approx(value, abs=1e-5) if isinstance(value, float) else value
            assert asdict(after)[name] == expected


@pytest.mark.slow
def test_figures_of_two_settings_are_not_mixed(refuse, path, tmp_path):  # noqa: F811
    run = tmp_path / "run"
    assert "there is no" in refuse("test", "--resume", run)
    break_off(path, run, signal.SIGKILL)
    said = refuse("test", "--resume", run, "--model.init_args.sampling.temperature", 0.5)
    assert "began with other settings (model.init_args.sampling.temperature: 1.0 -> 0.5); start another" in said
    said = refuse("test", "--resume", run, "--run_dir", tmp_path / "other")
    assert f"--resume {run} goes on in that folder: leave out --run_dir" in said
    assert "was broken off; go on with it: --resume" in refuse("test", "--config", path, "--run_dir", run)
    assert call("test", "--resume", run) == 0
    assert "that has ended; go on with it: --resume" in refuse("test", "--config", path, "--run_dir", run)


@pytest.mark.slow
def test_a_scorer_that_is_not_there(refuse, path, tmp_path):  # noqa: F811
    scorer = ("--model", "lit_listener.training.ScorerJudge", "--model.init_args.scorer", "json.nothere")
    said = refuse("test", *scorer, "--run_dir", tmp_path / "run", status=2)
    assert re.fullmatch(r"error: model: scorer: .*: module 'json' has no attribute 'nothere'", said.strip())


@pytest.mark.slow
def test_anchors_are_refused_where_there_are_no_lists(refuse, path, tmp_path):  # noqa: F811
    said = refuse("test", "--config", path, "--data.eval_lists", "anchor", "--run_dir", tmp_path / "run")
    assert "data.eval_lists: anchor is for ranked lists, but data.test.held_in (ShapesPairs) has pairs alone" in said


@pytest.mark.slow
def test_a_report_of_one_run_and_of_two(path, tmp_path, capsys):
    one, two = tmp_path / "one", tmp_path / "two"
    for run, seed in ((one, 0), (two, 1)):
        assert call("test", "--config", path, "--run_dir", run, "--model.init_args.sampling.seed", seed) == 0
    shown = capsys.readouterr().out
    assert f"python -m lit_listener report {two}" in shown
    assert "expected calibration error" in shown
    results = json.loads((one / "results.json").read_text())
    assert results["sources"]["held_in"]["measures"]["one"]["data/completions"]["mean"] == 144  # 36 pairs, 2 orders, 2
    assert call("report", one) == 0
    page = (one / "report" / "report.html").read_text()
    assert "Listener paper, Table 5" in page
    assert "data:image/jpeg;base64," in page  # pictures of the judged pairs
    assert (one / "report" / "figures" / "held_in-figure_3.png").read_bytes().startswith(b"\x89PNG")
    assert (one / "report" / "data" / "held_in-table_2.csv").is_file()
    assert call("report", one, two, "--output", tmp_path / "both", "--sampled", 0) == 0
    assert call("report", two, one, "--sampled", 0) == 0  # leaves the report of the first alone
    assert (two / "report_with_one" / "report.html").is_file()
    page = (tmp_path / "both" / "report.html").read_text()
    assert "two against one" in page
    assert "data:image/jpeg" not in page


def test_reports_of_nothing(refuse, tmp_path):  # noqa: F811
    assert "no predictions at" in refuse("report", tmp_path)
    assert call("report", "--help") == 0
    assert call("report") == 2


@pytest.mark.slow
def test_two_processes_judge_what_one_does_and_either_goes_on_with_the_others_work(path, whole, tmp_path):
    two, both = tmp_path / "two", tmp_path / "both"
    several = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]

    def by_two(*options: object) -> None:
        command = [sys.executable, "-m", "lit_listener", "test", *map(str, options), *several]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-3000:]

    by_two("--config", path, "--run_dir", two)
    break_off(path, both, signal.SIGKILL)
    by_two("--resume", both)
    for run in (two, both):
        assert not (run / PARTS).exists()
        for before, after in zip(whole, read_predictions(run / "predictions.parquet"), strict=True):
            for name, value in asdict(before).items():
                assert asdict(after)[name] == (pytest.approx(value, abs=1e-5) if isinstance(value, float) else value)


def script_counts(ranking: list[int], rewards: list[float]) -> tuple[int, int]:
    """Right and counted pairs of a list, as ImageReward's test script has them: equal rewards are wrong."""
    right = counted = 0
    for i in range(len(ranking)):
        for j in range(i + 1, len(ranking)):
            if ranking[i] != ranking[j]:
                better, worse = (i, j) if ranking[i] < ranking[j] else (j, i)
                counted += 1
                right += rewards[better] > rewards[worse]
    return right, counted


@pytest.mark.slow
def test_planted_scores_on_imagerewards_list_file_give_what_the_authors_scripts_give(tmp_path):
    rng = np.random.default_rng(0)
    sizes = [4] * 194 + [5] * 2 + [6] * 45 + [7] * 159 + [8] * 43 + [9] * 23  # of the published file: 466 prompts
    for number in range(9):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    rows = [
        {
            "id": f"{n:03d}",
            "prompt": f"prompt {n}",
            "generations": [f"{number}.png" for number in range(size)],
            "ranking": rng.integers(1, size + 1, size).tolist(),  # with ties
            "planted": rng.integers(0, 6, size).astype(float).tolist(),  # with ties
        }
        for n, size in enumerate(sizes)
    ]
    (tmp_path / "test.json").write_text(json.dumps(rows))
    options = {"path": str(tmp_path / "test.json"), "split": "test", "scores": "planted"}
    source = {"class_path": "lit_listener.data.sources.ImageRewardDB", "init_args": options}
    judge = ("--model", "lit_listener.training.ScorerJudge", "--trainer.accelerator", "cpu")
    run = tmp_path / "run"
    assert call("test", *judge, "--data.test", json.dumps({"ir": source}), "--run_dir", run) == 0
    told = json.loads((run / "results.json").read_text())["sources"]["ir"]["measures"]["run"]
    counts = [script_counts(row["ranking"], row["planted"]) for row in rows]
    right, counted = (sum(column) for column in zip(*counts, strict=True))
    assert told["accuracy/micro"]["mean"] == pytest.approx(right / counted, abs=1e-12)
    assert told["accuracy/micro"]["rows"] == counted
    per_list = [right / counted for right, counted in counts if counted]  # HPSv2's script: the mean over lists
    assert told["accuracy/macro"]["mean"] == pytest.approx(sum(per_list) / len(per_list), abs=1e-12)
    assert told["lists/all_pairs_micro"]["mean"] == pytest.approx(right / counted, abs=1e-12)
