import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from scipy.special import expit

from lit_listener.__main__ import main
from lit_listener.data.records import ListPlaces, PreferencePair, RankedList
from lit_listener.data.shapes import ShapesPairs
from lit_listener.data.shown import ShownPair
from lit_listener.evaluation.judged_pairs import judged_pairs
from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.predictions_file import read_predictions
from lit_listener.training import ScorerJudge
from lit_listener.training.scorer_judge import preference


def grey(level: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (level,) * 3)


def make_pair(name: str = "p0", levels: tuple[int, int] = (10, 20), **fields) -> PreferencePair:
    known = {"prompt": "a cat", "share_a": 1.0, "votes": 3, "pair_id": name, "prompt_id": "cat"}
    return PreferencePair(**{**known, "image_a": grey(levels[0]), "image_b": grey(levels[1]), **fields})


def brightness(prompt: str, images) -> list[float]:
    return [np.asarray(image).mean() / 100 for image in images]


class Noted:
    """A scorer that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[int]]] = []

    def __call__(self, prompt: str, images) -> list[float]:
        self.asked.append((prompt, [image.getpixel((0, 0))[0] for image in images]))
        return brightness(prompt, images)


# ---- probabilities ---------------------------------------------------------------------------------------------------


def test_the_probability_is_bradley_terrys():
    # e^1 / (e^1 + e^3) of the first: 1 / (1 + e^-2) = 0.880797 of the second
    assert preference(1.0, 3.0) == pytest.approx(0.8807970779778823, abs=1e-15)
    assert preference(3.0, 1.0) == pytest.approx(1 - 0.8807970779778823, abs=1e-15)
    assert preference(-2.5, -2.5) == 0.5


@example(5e-324, 0.0)
@example(0.0, 5e-324)
@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_the_probability_is_on_the_side_of_the_higher_score(first, second):
    p = preference(first, second)
    assert 0.0 <= p <= 1.0
    assert (p > 0.5, p < 0.5) == (second > first, second < first)
    assert ((1 - p) > 0.5, (1 - p) < 0.5) == (second < first, second > first)  # read as that of the first image
    assert p + preference(second, first) == pytest.approx(1.0, abs=1e-15)
    with np.errstate(over="ignore"):
        assert p == pytest.approx(float(expit(np.float64(second) - np.float64(first))), abs=2.1e-12)


def test_differences_that_saturate():
    assert [preference(0.0, x) for x in (800.0, 1e308, -800.0)] == [1.0, 1.0, 0.0]
    assert preference(-1e308, 1e308) == 1.0
    assert preference(0.0, -700.0) == pytest.approx(math.exp(-700), rel=1e-12)  # not yet 0
    assert preference(0.0, 5e-324) > 0.5


# ---- rows ------------------------------------------------------------------------------------------------------------


def test_a_row():
    listed = ListPlaces("l", 2, 5, 1.0, 3.0)
    pair = make_pair(levels=(100, 230), listed=listed, category="people", generator_a="x", generator_b="y")
    (row,) = ScorerJudge(brightness).judge([ShownPair(pair, "b", index=7)], "held_out")
    # shown first: b with 2.3, then a with 1.0; people prefer a, the second shown
    assert row.p_second == pytest.approx(1 / (1 + math.exp(1.3)), abs=1e-15)
    expected = Prediction(
        pair_id="p0",
        prompt_id="cat",
        prompt="a cat",
        rollout=0,
        first="b",
        label=1,
        answer=0,
        outcome="ok",
        p_second=row.p_second,
        listener_p_second=None,
        listener_p_correct=None,
        contradicts=False,
        stated_verdict=None,
        length=0,
        truncated=False,
        trace="",
        share_a=1.0,
        generator_a="x",
        generator_b="y",
        source="held_out",
        index=7,
        votes=3,
        category="people",
        list_id="l",
        item_a=2,
        item_b=5,
        rank_a=1.0,
        rank_b=3.0,
    )
    assert row == expected
    assert (row.correct, row.unparsable) == (0, False)


def test_equal_scores_are_a_readable_tie():
    pair = make_pair(levels=(30, 30))
    rows = ScorerJudge(brightness).judge([ShownPair(pair, "a", 0), ShownPair(pair, "b", 0)])
    assert [(row.p_second, row.answer, row.unparsable) for row in rows] == [(0.5, 0, False)] * 2
    (judged,) = judged_pairs(rows)
    assert [judged.correct(ties=ties) for ties in ("wrong", "half", "right")] == [0.0, 0.5, 1.0]


def test_both_orders_of_scores_that_are_nearly_equal_agree():
    pair = make_pair(score_a=1.0, score_b=1.0 + 2**-52)
    rows = ScorerJudge().judge([ShownPair(pair, "a", 0), ShownPair(pair, "b", 0)])
    assert [row.answer for row in rows] == [1, 0]
    (judged,) = judged_pairs(rows)
    assert judged.p_a() == pytest.approx(0.5 - 2e-12, abs=1e-15)  # less than one half by more than rounding
    assert judged.correct(ties="right") == 0.0


def test_scores_of_the_source():
    pair = make_pair(score_a=0.5, score_b=2.0)
    rows = ScorerJudge().judge([ShownPair(pair, "a", 0), ShownPair(pair, "b", 0)])
    assert [(row.p_second, row.answer) for row in rows] == [
        (pytest.approx(1 / (1 + math.exp(-1.5))), 1),
        (pytest.approx(1 / (1 + math.exp(1.5))), 0),
    ]


def test_pairs_that_do_not_count_are_left_out():
    shown = ShownPair(make_pair(), "a", 0)
    noted = Noted()
    assert [r.pair_id for r in ScorerJudge(noted).judge([shown, replace(shown, pair=make_pair("p1"), counted=False)])]
    assert noted.asked == [("a cat", [10, 20])]
    assert ScorerJudge(noted).judge([replace(shown, counted=False)]) == []
    assert len(noted.asked) == 1


# ---- what a scorer is asked ------------------------------------------------------------------------------------------


def ranked(name: str, levels: tuple[int, ...], prompt: str = "a cat") -> RankedList:
    ranks = tuple(float(n) for n in range(len(levels)))
    return RankedList(prompt, tuple(map(grey, levels)), ranks, name, prompt, ("",) * len(levels))


def test_each_image_of_a_list_is_scored_once_with_the_others():
    lists = [ranked("l0", (10, 20, 30)), ranked("l1", (40, 50)), ranked("l2", (60, 70), prompt="a dog")]
    shown = [
        ShownPair(each.pair(i, j), first, n)
        for n, each in enumerate(lists)
        for i, j in combinations(range(len(each.images)), 2)
        for first in ("a", "b")
    ]
    noted = Noted()
    rows = ScorerJudge(noted).judge(shown)
    assert noted.asked == [("a cat", [10, 20, 30]), ("a cat", [40, 50]), ("a dog", [60, 70])]
    alone = [row for each in shown for row in ScorerJudge(brightness).judge([each])]
    assert rows == alone
    backwards = ScorerJudge(brightness).judge(shown[::-1])
    assert rows == backwards[::-1]


def test_a_list_whose_images_were_opened_pair_by_pair():
    each = ranked("l0", (10, 20, 30))
    copies = [ranked("l0", (10, 20, 30)).pair(i, j) for i, j in combinations(range(3), 2)]
    noted = Noted()
    rows = ScorerJudge(noted).judge([ShownPair(pair, "a", n) for n, pair in enumerate(copies)])
    assert noted.asked == [("a cat", [10, 20, 30])]
    same = [ShownPair(each.pair(i, j), "a", n) for n, (i, j) in enumerate(combinations(range(3), 2))]
    assert rows == ScorerJudge(brightness).judge(same)


def test_a_pair_is_scored_alone_and_once_so_that_no_score_depends_on_the_batch():
    common = grey(50)
    pairs = [make_pair(f"p{n}", levels=(10 + n, 0), image_b=common) for n in range(2)]
    pairs.append(make_pair("p2", prompt="a dog", image_b=common))
    noted = Noted()
    shown = [ShownPair(pair, first, 0) for pair in pairs for first in ("a", "b")]
    rows = ScorerJudge(noted).judge(shown)
    assert noted.asked == [("a cat", [10, 50]), ("a cat", [11, 50]), ("a dog", [10, 50])]
    assert rows == [row for each in shown for row in ScorerJudge(brightness).judge([each])]


@pytest.mark.parametrize("kind", [tuple, np.array, lambda scores: torch.tensor(scores)[:, None]])
def test_scores_of_other_kinds(kind: Callable):
    shown = [ShownPair(make_pair(), "a", 0)]
    (row,) = ScorerJudge(lambda prompt, images: kind([1.0, 3.0])).judge(shown)
    assert row.p_second == pytest.approx(0.8807970779778823)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0], r"model\.scorer: pair p0 \(prompt 'a cat'\): expected 2 scores, one an image, got 1"),
        ([1.0, 2.0, 3.0], r"pair p0 \(prompt 'a cat'\): expected 2 scores, one an image, got 3"),
        (1.0, r"pair p0 \(prompt 'a cat'\): expected a number for each image, got 1\.0"),
        (["good", "bad"], r"pair p0 .*: expected a number for each image, got \['good', 'bad'\]"),
        ([1.0, math.nan], "pair p0: expected a finite score, got nan"),
        ([math.inf, 1.0], "pair p0: expected a finite score, got inf"),
    ],
)
def test_a_scorer_that_fails(scores, message):
    with pytest.raises(ValueError, match=message):
        ScorerJudge(lambda prompt, images: scores).judge([ShownPair(make_pair(), "a", 0)])


def test_the_pair_of_a_bad_score_is_named():
    shown = [ShownPair(make_pair(f"p{n}", levels=(n, n)), "a", 0) for n in range(3)]
    given = iter([[0.0, 0.0], [0.0, 0.0], [0.0, math.nan]])
    with pytest.raises(ValueError, match="pair p2: expected a finite score, got nan"):
        ScorerJudge(lambda prompt, images: next(given)).judge(shown)


def test_what_a_scorer_raises_says_where():
    def broken(prompt, images):
        raise OverflowError("out of bounds")

    with pytest.raises(RuntimeError, match=r"model\.scorer: pair p0 \(prompt .*: OverflowError: out of bounds"):
        ScorerJudge(broken).judge([ShownPair(make_pair(), "a", 0)])


@pytest.mark.parametrize("fields", [{}, {"score_a": 1.0}])
def test_a_source_without_scores(fields):
    with pytest.raises(ValueError, match=r"pair p0: its source has no scores; name their columns .*score_a and"):
        ScorerJudge().judge([ShownPair(make_pair(**fields), "a", 0)])
    with pytest.raises(ValueError, match="pair p0: expected a finite score, got nan"):
        ScorerJudge().judge([ShownPair(make_pair(score_a=1.0, score_b=math.nan), "a", 0)])


# ---- from the command line -------------------------------------------------------------------------------------------


@pytest.fixture
def my_scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of one's own with a scorer that knows red from other colours."""
    (tmp_path / "my_scorers.py").write_text(
        "import numpy as np\n\n\ndef redness(prompt, images):\n"
        "    return [float(np.asarray(image)[..., 0].mean()) / 20 for image in images]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_scorers.redness"
    sys.modules.pop("my_scorers", None)


def call(*args: object) -> int:
    try:
        return main([str(arg) for arg in args])
    except SystemExit as stopped:
        return int(stopped.code or 0)


QUIET = ("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false")
JUDGE = ("--model", "lit_listener.training.ScorerJudge")


def shapes(name: str) -> tuple[str, ...]:
    source = {
        "class_path": "lit_listener.data.shapes.ShapesPairs",
        "init_args": {"renderers": ["flat", "paper"], "size": 7, "split": "test"},
    }
    return (f"--data.{name}", json.dumps({"held_in": source}))


@pytest.mark.parametrize("command", ["test", "predict"])
def test_a_scorer_of_ones_own(my_scorer, tmp_path, command):
    run = tmp_path / "run"
    options = ("--model.scorer", my_scorer, "--data.eval_orders", "both", "--data.eval_batch_size", 3)
    assert call(command, *QUIET, *JUDGE, *options, *shapes("test"), "--run_dir", run) == 0
    rows = read_predictions(run / "predictions.parquet")
    pairs = ShapesPairs(["flat", "paper"], 7, "test")
    expected = []
    for index in range(7):
        pair = pairs[index]
        a, b = (float(np.asarray(image)[..., 0].mean()) / 20 for image in (pair.image_a, pair.image_b))
        expected += [(pair.pair_id, "a", float(expit(b - a))), (pair.pair_id, "b", float(expit(a - b)))]
    found = [(row.pair_id, row.first, row.p_second) for row in rows]
    assert [each[:2] for each in found] == [each[:2] for each in expected]
    assert [each[2] for each in found] == pytest.approx([each[2] for each in expected], abs=1e-12)
    assert [row.category for row in rows][::2] == [pairs[index].category for index in range(7)]


def test_a_scorer_is_validated(my_scorer, tmp_path):
    options = ("--model.scorer", my_scorer, "--run_dir", tmp_path / "run")
    assert call("validate", *QUIET, *JUDGE, *options, *shapes("validation")) == 0


@pytest.fixture
def scored_lists(tmp_path: Path) -> str:
    """The authors' layout of ImageReward, with planted scores in a column, as a test source."""
    planted = [[3.0, 1.0, 2.0], [0.5, 0.5]]
    ranking = [[1, 2, 3], [2, 1]]
    cells = [
        {
            "id": f"{n}",
            "prompt": f"prompt {n}",
            "generations": [f"{n}_{i}.png" for i in range(len(ranks))],
            "ranking": ranks,
            "hps": planted[n],
        }
        for n, ranks in enumerate(ranking)
    ]
    (tmp_path / "test.json").write_text(json.dumps(cells))
    for n, ranks in enumerate(ranking):
        for i in range(len(ranks)):
            grey(10 * i).save(tmp_path / f"{n}_{i}.png")
    source = {
        "class_path": "lit_listener.data.sources.ImageRewardDB",
        "init_args": {"path": str(tmp_path / "test.json"), "split": "test", "scores": "hps"},
    }
    return json.dumps({"ir": source})


def judged_lists(source: str, run: Path, *options: object) -> list:
    assert call("test", *QUIET, *JUDGE, "--data.test", source, "--run_dir", run, *options) == 0
    return judged_pairs(read_predictions(run / "predictions.parquet"))


def test_scores_in_a_column_of_ranked_lists(scored_lists, tmp_path):
    judged = judged_lists(scored_lists, tmp_path / "run", "--data.eval_orders", "both")
    # list 0: 3 > 1, 3 > 2, 1 < 2 where people have 1 > 2 > 3: right, right, wrong; list 1: a tie in the scores
    assert [(pair.any_row.pair_id, pair.correct(ties="half")) for pair in judged] == [
        ("0-0-1", 1.0),
        ("0-0-2", 1.0),
        ("0-1-2", 0.0),
        ("1-0-1", 0.5),
    ]
    assert judged[0].p_a() == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert [pair.any_row.list_id for pair in judged] == ["0", "0", "0", "1"]


def test_scored_lists_against_an_anchor(scored_lists, tmp_path):
    judged = judged_lists(scored_lists, tmp_path / "run", "--data.eval_lists", "anchor", "--data.anchor", 1)
    # the second image of each list against the others: of 3, 1, 2 and of 0.5, 0.5
    assert [(pair.any_row.pair_id, pair.p_a()) for pair in judged] == [
        ("0-0-1", pytest.approx(1 / (1 + math.exp(-2)))),
        ("0-1-2", pytest.approx(1 / (1 + math.exp(1)))),
        ("1-0-1", 0.5),
    ]


def test_scores_that_are_not_there_are_told(tmp_path, capsys):
    assert call("test", *QUIET, *JUDGE, *shapes("test"), "--run_dir", tmp_path / "run") == 1
    said = capsys.readouterr().err
    assert "error: pair shapes-test-0-flat+paper-" in said
    assert "its source has no scores" in said


def test_there_is_nothing_to_train(tmp_path, capsys, my_scorer):
    train = json.loads(shapes("train")[1])["held_in"]
    options = ("--model.scorer", my_scorer, "--data.train", json.dumps(train), "--run_dir", tmp_path / "run")
    assert call("fit", *QUIET, *JUDGE, *options) == 1
    assert "error: a ScorerJudge has nothing to train: use validate, test or predict" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_there_is_no_step_to_plan(tmp_path, capsys):
    train = json.loads(shapes("train")[1])["held_in"]
    assert call("fit", *QUIET, *JUDGE, "--data.train", json.dumps(train), "--print_plan") == 1
    assert "error: --print_plan: ScorerJudge is no reasoner, whose steps alone are planned" in capsys.readouterr().err


def test_a_scorer_that_is_not_there(tmp_path, capsys):
    assert call("test", *QUIET, *JUDGE, "--model.scorer", "my_scorers.blueness", *shapes("test")) != 0
    assert "my_scorers" in capsys.readouterr().err


def test_the_options_are_explained(capsys):
    assert call("test", "--model.help", "lit_listener.training.ScorerJudge") == 0
    assert "--model.scorer" in capsys.readouterr().out
