import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_listener.evaluation.judged_pairs import judged_pairs
from lit_listener.evaluation.protocols.baselines import (
    first_image_correct,
    longest_trace_correct,
    single_human_correct,
    table_3,
)
from tests.evaluation.protocols.judging import cell, mean, row


def pair_of(*rows):
    (pair,) = judged_pairs(rows)
    return pair


def test_a_single_person_by_hand():
    # 2 votes a, 1 b: each a voter faces 1 to 1 (half), the b voter 0 to 2 (wrong): 2/3 · 1/2.
    assert single_human_correct(pair_of(row(share_a=2 / 3, votes=3))) == pytest.approx(1 / 3)
    # 3 to 1: an a voter faces 2 to 1 (right), the b voter 0 to 3: 3/4.
    assert single_human_correct(pair_of(row(share_a=0.25, votes=4))) == pytest.approx(3 / 4)
    # 3 to 2: an a voter faces 2 to 2 (half), a b voter 1 to 3: 3/5 · 1/2.
    assert single_human_correct(pair_of(row(share_a=0.6, votes=5))) == pytest.approx(3 / 10)
    assert single_human_correct(pair_of(row(share_a=0.0, votes=2))) == 1.0
    assert single_human_correct(pair_of(row(share_a=0.5, votes=4))) is None
    assert single_human_correct(pair_of(row(share_a=1.0, votes=1))) is None
    assert single_human_correct(pair_of(row(share_a=0.3, votes=0))) == pytest.approx(0.7)
    assert single_human_correct(pair_of(row(share_a=0.3217, votes=20))) == pytest.approx(0.6783)  # weighted votes


@given(st.integers(2, 40).flatmap(lambda votes: st.tuples(st.just(votes), st.integers(0, votes))))
def test_a_single_person_is_the_mean_over_voters(drawn):
    votes, votes_a = drawn
    ballots = [1] * votes_a + [-1] * (votes - votes_a)
    worths = []
    for place, own in enumerate(ballots):
        others = sum(ballots[:place] + ballots[place + 1 :])
        worths.append(0.5 if others == 0 else float((others > 0) == (own > 0)))
    expectation = single_human_correct(pair_of(row(share_a=votes_a / votes, votes=votes)))
    if 2 * votes_a == votes:
        assert expectation is None
    else:
        assert expectation == pytest.approx(sum(worths) / votes, abs=1e-12)


def test_the_first_image_and_the_longest_trace():
    rows = [
        row(first="a", rollout=0, p_a=0.9, length=10),
        row(first="a", rollout=1, p_a=0.1, length=30),
        row(first="b", rollout=0, p_a=0.9, length=25),
        row(first="b", rollout=1, p_a=None, length=25),  # as long, but later
    ]
    assert first_image_correct(pair_of(*rows)) == 0.5
    assert first_image_correct(pair_of(*rows[:2])) == 1.0
    assert first_image_correct(pair_of(row(first="b"))) == 0.0
    assert longest_trace_correct(pair_of(*rows)) == 0.5  # wrong with a first, right with b first
    assert longest_trace_correct(pair_of(*rows[:2])) == 0.0
    assert longest_trace_correct(pair_of(row(p_a=None, length=9), row(rollout=1, length=3))) == 0.0
    assert longest_trace_correct(pair_of(row(share_a=0.5))) is None
    assert first_image_correct(pair_of(row(share_a=0.5))) is None


def test_table_3_by_hand():
    rows = [
        row("x", prompt="p", share_a=0.75, votes=4, p_a=0.9, prompt_in_training=True),
        row("y", prompt="q", share_a=0.25, votes=4, p_a=0.9, prompt_in_training=False),
        row("z", prompt="r", share_a=1.0, votes=4, p_a=0.9, prompt_in_training=None),
        row("t", prompt="r", share_a=0.5, votes=4, p_a=0.9, prompt_in_training=False),
    ]
    table = table_3({"run": rows})
    assert mean(table, "accuracy/micro") == pytest.approx(2 / 3)
    assert mean(table, "accuracy/no_overlap") == 0.0  # y alone
    assert cell(table, "accuracy/no_overlap").rows == 1
    assert mean(table, "baseline/single_human") == pytest.approx((0.75 + 0.75 + 1) / 3)
    chance = cell(table, "baseline/chance")
    assert (chance.interval.mean, chance.interval.low, chance.interval.high) == (0.5, 0.5, 0.5)
    assert (chance.rows, chance.clusters) == (3, 3)
    assert mean(table, "baseline/first_image") == pytest.approx(2 / 3)
    assert cell(table, "baseline/longest_trace").reason.startswith("no pair has several completions")
    assert "The prompts of 1 of 4 pairs are in the training set, and nobody looked for 1." in table.notes
    several = table_3({"run": [*rows, row("x", prompt="p", share_a=0.75, rollout=1, p_a=0.1, length=99, votes=4)]})
    assert mean(several, "baseline/longest_trace") == pytest.approx(1 / 3)  # x wrong, y wrong, z right


def test_both_orders_make_the_first_image_chance():
    rows = [row("x", first=first, share_a=0.9, votes=10) for first in "ab"]
    assert mean(table_3({"run": rows}), "baseline/first_image") == 0.5


def test_what_is_not_told_is_not_defined():
    ranked = [row("x", share_a=1.0), row("y", prompt="q", share_a=0.0)]
    assert cell(table_3({"run": ranked}), "baseline/single_human").reason == "the source tells no shares of votes"
    overlap = "accuracy/no_overlap"
    assert cell(table_3({"run": ranked}), overlap).reason == "nobody looked which prompts are in the training set"
    trained = [row(prompt_in_training=True)]
    assert cell(table_3({"run": trained}), overlap).reason == "every prompt is in the training set"
    single = [row("x", votes=1), row("y", prompt="q", share_a=0.0, votes=1)]
    table = table_3({"run": single})
    assert cell(table, "baseline/single_human").reason == "no pair that people prefer an image of has two votes"
    assert any("2 pairs with a single vote are left out" in note for note in table.notes)
    shares = table_3({"run": [row("x", share_a=0.7), row("y", prompt="q", share_a=0.9)]})
    assert mean(shares, "baseline/single_human") == pytest.approx(0.8)
    assert any(note.startswith("2 pairs tell no whole number of votes") for note in shares.notes)


def test_nothing_to_count():
    table = table_3({"empty": [], "tied": [row(share_a=0.5)]})
    for line in table.lines:
        for empty in line.cells:
            assert empty.rows == 0
            assert empty.reason
    assert cell(table, "baseline/chance").reason == "there is no pair of which people prefer one image"
