"""Lists that were judged at once, in the terminal and on the page."""

from dataclasses import replace

import pytest

from lit_listener.judging.display.exhibit import Exhibit
from lit_listener.judging.display.page import ranking_page
from lit_listener.judging.display.terminal import show_ranking
from lit_listener.judging.results import Ranking
from lit_listener.judging.traces import ListTrace
from tests.judging.display.conftest import HOSTILE, shown
from tests.judging.display.test_terminal import line_of, printed

GIVEN = ListTrace((0, 1, 2), 0, "", "image 2 is the best", 1, (0.25, 0.5, 0.25), False, "ok", False, 9)
REVERSED = ListTrace((2, 1, 0), 0, "cut", "", None, (0.125, 0.75, 0.125), True, "truncated", False, 7)


def ranked(*traces: ListTrace, rollouts: int = 1) -> Ranking:
    scores = tuple(sum(trace.scores[place] for trace in traces) / len(traces) for place in range(3))
    both = len({trace.order for trace in traces}) > 1
    return Ranking("a cat", scores, None, "none", (None,) * 3, rollouts, both_orders=both, seed=7, list_traces=traces)


@pytest.fixture
def exhibit() -> Exhibit:
    return Exhibit("lister", (shown("one.png"), shown("two.png"), shown("three.png")))


def test_a_ranking_in_the_terminal(exhibit):
    text = printed(show_ranking(ranked(GIVEN, REVERSED), exhibit, traces=True), width=200)
    assert line_of(text, "two.png").split()[:3] == ["1", "two.png", "0.625"]
    assert "anchor" not in text
    assert "Score: probability of being the best of these 3 images, judged at once." in text
    assert "Seed 7, 1 trace about all 3 images at once, in each of two display orders." in text
    assert "Traces: 1 of 2 forced." in text
    assert text.count("All 3 images at once") == 1
    assert (
        "shown in this order: one.png, two.png, three.png · answer: two.png · p(best) = 0.250, 0.500, 0.250 · 9 tokens"
        in text
    )
    assert "three.png, two.png, one.png · no answer can be read · p(best) = 0.125, 0.750, 0.125 · 7 tokens" in text
    assert text.index("All 3 images at once") < text.index("image 2 is the best") < text.index("    cut")
    assert "All 3 images" not in printed(show_ranking(ranked(GIVEN, REVERSED), exhibit), width=200)


def test_numbers_are_in_displayed_order(exhibit):
    turned = replace(REVERSED, scores=(0.1, 0.2, 0.7), listener_scores=(0.5, 0.3, 0.2))
    text = printed(show_ranking(ranked(turned), exhibit, traces=True), width=200)
    assert "p(best) = 0.700, 0.200, 0.100 · listener's 0.200, 0.300, 0.500" in text
    assert [line_of(text, name).split()[-1] for name in ("one.png", "two.png")] == ["0.500", "0.300"]
    assert "1 trace about all 3 images at once, in one display order" in text


def test_orders_that_disagree_are_told(exhibit):
    other = replace(REVERSED, scores=(0.2, 0.3, 0.5), forced=False)
    agreeing = replace(GIVEN, rollout=1, scores=(0.0, 1.0, 0.0))
    text = printed(show_ranking(ranked(GIVEN, agreeing, other, other, rollouts=2), exhibit), width=200)
    assert "Traces: orders disagree." in text
    assert "2 traces about all 3 images" in text
    # given: 0.25, 0.5 + 0.5, 0.25 against 0.2, 0.3, 0.5 and then 0.1, 0.8, 0.1: the second is best in both orders
    level = replace(other, rollout=1, scores=(0.1, 0.8, 0.1))
    assert "disagree" not in printed(show_ranking(ranked(GIVEN, agreeing, other, level, rollouts=2), exhibit))


def test_traces_that_were_left_out_are_a_list_still(exhibit):
    brief = replace(ranked(GIVEN, REVERSED), list_traces=())
    text = printed(show_ranking(brief, exhibit, traces=True), width=200)
    assert "judged at once" in text
    assert "All 3 images" not in text
    assert "trace" not in ranking_page(brief, exhibit).split("<main>")[1]


def test_the_page_tells_the_same_and_the_traces_once(exhibit):
    page = ranking_page(ranked(GIVEN, REVERSED), exhibit)
    assert page.index("two.png") < page.index("one.png")
    told = ("Rank 1 of 3", "0.625", "answer: two.png", "1 of 2 forced", "the best of these 3 images, judged at once")
    for each in told:
        assert each in page
    assert page.count("2 traces") == 1
    assert page.count("<details>") == 1
    assert page.index("</ol>") < page.index("<details>")
    assert "anchor" not in page.split("<main>")[1]


def test_what_a_model_writes_is_escaped(exhibit):
    ranking = ranked(replace(GIVEN, thinking=HOSTILE), REVERSED)
    named = replace(exhibit, images=(shown(HOSTILE), *exhibit.images[1:]))
    assert "<script>" not in ranking_page(ranking, named)
    assert "\x1b[2J" not in printed(show_ranking(ranking, named, traces=True), width=400)
