import io

import pytest
from rich.console import Console

from lit_listener.judging.display.exhibit import Exhibit
from lit_listener.judging.display.terminal import ProbabilityBar, show_comparison, show_ranking
from tests.judging.display.conftest import HOSTILE, comparison, ranking, shown, trace


def printed(renderable, width=100, **options):
    console = Console(file=io.StringIO(), width=width, **options)
    console.print(renderable, highlight=False)
    return console.file.getvalue()


def line_of(text, word):
    return next(line for line in text.splitlines() if word in line)


def test_ranking_is_a_table_best_first(judged):
    (ranked, exhibit), _ = judged
    text = printed(show_ranking(ranked, exhibit))
    rows = [line.split() for line in text.splitlines() if line.lstrip()[:1].isdigit()]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [row[1] for row in rows] == [f"img{place}.png" for place in ranked.order]
    assert [row[2] for row in rows] == [f"{ranked.scores[place]:.3f}" for place in ranked.order]
    assert line_of(text, "0.500").rstrip().endswith("anchor")
    assert f"the anchor, img{ranked.anchor}.png (chosen by seed 0). Scores" in text
    assert "1 trace in each of two display orders" in text
    assert "shown first" not in text


def test_traces_tell_which_image_was_shown_first(judged):
    (ranked, exhibit), _ = judged
    text = printed(show_ranking(ranked, exhibit, traces=True), width=400)
    best, anchor = f"img{ranked.order[0]}.png", f"img{ranked.anchor}.png"
    assert f"1. {best} against {anchor}" in text
    for each in ranked.traces[ranked.order[0]]:
        first = best if each.first == "a" else anchor
        answer = best if each.answer == "a" else anchor
        facts = f"{first} shown first · answer: {answer} · p({best}) = {each.p_a:.3f} · {each.tokens} tokens"
        assert f"  {facts}" in text
        assert f"\n    {each.thinking.strip()}\n" in text


def test_comparison_shows_both_probabilities_and_the_listener(judged):
    _, (compared, exhibit) = judged
    text = printed(show_comparison(compared, exhibit, traces=True), width=300)
    p, heard = compared.p_a, compared.listener_p_a
    a, b = (next(line.split() for line in text.splitlines() if line.startswith(side)) for side in ("A ", "B "))
    assert (a[1], a[2], a[-1]) == ("img0.png", f"{p:.3f}", f"{heard:.3f}")
    assert (b[1], b[2], b[-1]) == ("img1.png", f"{1 - p:.3f}", f"{1 - heard:.3f}")
    assert text.count("trace 1 of 2 · ") == 2  # once in each display order
    assert f"listener's {compared.traces[0].listener_p_a:.3f}" in text


@pytest.mark.parametrize(
    ("traces", "both", "expected"),
    [
        ([trace("a", 0.8), trace("b", 0.7)], True, "Preferred: A, x.png. Both display orders agree."),
        (
            [trace("a", 0.75), trace("b", 0.125)],
            True,
            "Preferred: B, y.png. The display orders disagree: p(A) = 0.750 with A first, 0.125 with B first.",
        ),
        ([trace("a", 0.2)], False, "Preferred: B, y.png. Shown in one order only, A first."),
        ([trace("a", 0.5)], False, "Neither is preferred: both are exactly level."),
    ],
)
def test_verdicts(traces, both, expected):
    exhibit = Exhibit("m", (shown("x.png"), shown("y.png")))
    assert expected in printed(show_comparison(comparison(*traces, both_orders=both), exhibit), width=200)


def test_marks_stand_beside_the_image_they_are_of_and_are_explained():
    odd = comparison(trace("a", 0.9, forced=True, answer=None), trace("b", 0.2, contradicts=True))
    exhibit = Exhibit("m", (shown("odd.png"), shown("fine.png")), shown("anchor.png"))
    text = printed(show_ranking(ranking(odd, comparison(trace("a", 0.9), trace("b", 0.9))), exhibit), width=250)
    assert "orders disagree, 1 of 2 forced, 1 of 2 contradicting" in line_of(text, "odd.png")
    assert not set("abcdefghijklmnopqrstuvwxyz") & set(line_of(text, "fine.png").split(".png")[1])
    assert "Notes: orders disagree: the two" in text
    assert "forced: a trace that came to no answer" in text
    assert "preferred to the anchor, anchor.png (as given). Scores compare only with those against the" in text


def test_texts_of_others_are_plain_text():
    hostile = comparison(trace("a", 0.9, thinking=HOSTILE), trace("b", 0.9), prompt=HOSTILE)
    exhibit = Exhibit(HOSTILE, (shown(HOSTILE), shown(f"{HOSTILE}\n2")))
    for text in (
        printed(show_comparison(hostile, exhibit, traces=True), width=800),
        printed(show_ranking(ranking(hostile, None, anchor=1, prompt=HOSTILE), exhibit, traces=True), width=800),
    ):
        assert "[bold red]b[/]" in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\ufffd[2J\ufffd\ufffd2" in text  # a line break in a name, too


def test_a_trace_without_thoughts_shows_all_that_it_wrote():
    odd = comparison(
        trace("a", 0.9, thinking="", text="<answer>no", forced=True, answer=None, outcome="no_answer"), trace("b", 0.9)
    )
    text = printed(show_comparison(odd, Exhibit("m", (shown("x"), shown("y"))), traces=True), width=200)
    assert "x shown first · no answer can be read · p(x) = 0.900 · 12 tokens · forced · no answer\n" in text
    assert "    <answer>no\n" in text


def test_long_names_are_folded_not_cut():
    name = "very_" * 20 + "long.png"
    exhibit = Exhibit("m", (shown(name), shown("y.png")), shown("z.png"))
    fine = comparison(trace("a", 0.9), trace("b", 0.9))
    text = printed(show_ranking(ranking(fine, fine), exhibit), width=80)
    assert "very_" * 2 in text
    assert "█" * 18 + "░" * 2 in text  # the bar is whole
    assert sum(line.count("very_") for line in text.splitlines()) + text.count("very\n") >= 15
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(("p", "full"), [(0.0, 0), (0.5, 10), (0.874, 17), (1.0, 20)])  # 20 x 0.874 = 17.48
def test_bars(p, full):
    assert printed(ProbabilityBar(p)).rstrip("\n") == "█" * full + "░" * (20 - full)


def test_bars_of_ascii_where_the_terminal_knows_nothing_else():
    buffer = io.BytesIO()
    console = Console(file=io.TextIOWrapper(buffer, encoding="ascii", write_through=True), width=80)
    console.print(ProbabilityBar(0.25))
    assert buffer.getvalue() == b"#####...............\n"


def test_an_anchor_that_is_not_known_is_an_error():
    fine = comparison(trace("a", 0.9), trace("b", 0.9))
    with pytest.raises(ValueError, match="anchor is none of its images"):
        show_ranking(ranking(fine), Exhibit("m", (shown("x"),)))
