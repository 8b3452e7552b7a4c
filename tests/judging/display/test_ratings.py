"""Ratings in the terminal and on the page."""

from dataclasses import replace

import pytest

from lit_listener.judging.display.exhibit import Exhibit
from lit_listener.judging.display.page import comparison_page, ranking_page
from lit_listener.judging.display.terminal import show_comparison, show_ranking
from lit_listener.judging.results import Comparison, Ranking, Rating
from lit_listener.judging.traces import RatingTrace
from tests.judging.display.conftest import HOSTILE, shown
from tests.judging.display.test_terminal import line_of, printed


def rating(score: float, answer: str | None, listener: float | None = None, **changes) -> Rating:
    trace = RatingTrace(0, "", "it fits well", answer, score, False, "ok", False, 9, listener)
    return Rating(score, "1", "5", (replace(trace, **changes),))


RATINGS = (rating(0.25, "2"), rating(0.875, None, forced=True, outcome="no_answer"))


@pytest.fixture
def ranked() -> Ranking:
    scores = tuple(each.score for each in RATINGS)
    return Ranking("a red square", scores, None, "none", (None, None), 1, both_orders=False, seed=7, ratings=RATINGS)


@pytest.fixture
def compared() -> Comparison:
    return Comparison("a red square", 0.1875, (), 1, both_orders=False, seed=7, ratings=RATINGS)


@pytest.fixture
def exhibit() -> Exhibit:
    return Exhibit("rater", (shown("one.png"), shown("two.png")))


def test_a_ranking_in_the_terminal(ranked, exhibit):
    text = printed(show_ranking(ranked, exhibit, traces=True), width=200)
    assert line_of(text, "two.png").split()[:3] == ["1", "two.png", "0.875"]
    assert line_of(text, "one.png").split()[:3] == ["2", "one.png", "0.250"]
    assert "1 of 1 forced" in line_of(text, "two.png")
    assert "anchor" not in text
    assert "expected rating of each image by itself (0 is a rating of 1, 1 one of 5)" in text
    assert "1 trace about each image by itself" in text
    assert "  rated 2 · score 0.250 · 9 tokens" in text
    assert "  no answer can be read · score 0.875 · 9 tokens · forced · no answer" in text
    assert text.index("1. two.png") < text.index("2. one.png")


def test_a_comparison_in_the_terminal(compared, exhibit):
    text = printed(show_comparison(compared, exhibit, traces=True), width=200)
    assert [line.split()[2] for line in text.splitlines() if line[:2] in ("A ", "B ")] == ["0.188", "0.812"]
    assert "Preferred: B, two.png. Each was rated by itself: A, one.png 0.250, B, two.png 0.875 of 1." in text
    assert text.count("it fits well") == 2
    assert "order" not in text


def test_the_listeners_word_is_a_column(exhibit):
    heard = (rating(0.25, "2", 0.5), rating(0.75, "4", 0.625))
    ranking = Ranking("p", (0.25, 0.75), None, "none", (None, None), 1, both_orders=False, seed=7, ratings=heard)
    text = printed(show_ranking(ranking, exhibit, traces=True), width=200)
    assert line_of(text, "one.png").split()[-1] == "0.500"
    assert "listener's 0.625" in text
    assert "0.625" in ranking_page(ranking, exhibit)


def test_pages_tell_the_same(ranked, compared, exhibit):
    page = ranking_page(ranked, exhibit)
    assert page.index("two.png") < page.index("one.png")
    for told in ("Rank 1 of 2", "0.875", "rated 2 · score 0.250", "1 of 1 forced", "expected rating of each image"):
        assert told in page
    assert "The anchor" not in page
    pair = comparison_page(compared, exhibit)
    for told in ("0.188", "0.812", "2 traces", "one.png", "it fits well", "Each was rated by itself"):
        assert told in pair


def test_what_a_model_writes_is_escaped(exhibit):
    nasty = (rating(0.5, "3", thinking=HOSTILE), rating(0.5, "3"))
    ranking = Ranking(HOSTILE, (0.5, 0.5), None, "none", (None, None), 1, both_orders=False, seed=7, ratings=nasty)
    assert "<script>" not in ranking_page(ranking, exhibit)
    assert "\x1b[2J" not in printed(show_ranking(ranking, exhibit, traces=True), width=400)
