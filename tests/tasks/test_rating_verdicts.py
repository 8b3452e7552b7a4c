"""Which rating thoughts state, by rule: precise rather than clever."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_listener.tasks.rating_verdicts import RatingVerdicts

FIVE = RatingVerdicts(["1", "2", "3", "4", "5"])


@pytest.mark.parametrize(
    ("trace", "rating"),
    [
        ("three yes red no circles yes, crisp, 2 fit. I rate it 4.", 4),
        ("I'd give this image a 3 out of 5.", 3),
        ("People would rate the image a four overall.", 4),
        ("I would give it a rating of 2.", 2),
        ("I give it a score of 4/5.", 4),
        ("4 out of 5", 4),
        ("All fits. 4/5", 4),
        ("It is 4 out of 5.", 4),
        ("Overall: 4", 4),
        ("Overall 4/5.", 4),
        ("My rating is 2", 2),
        ("rating: 5.", 5),
        ("the answer is 2", 2),
        ("So the final score should be 3.", 3),
        ("It deserves a 5!", 5),
        ("The image merits a 2, since the hand is wrong.", 2),
        ("I rate it **4**", 4),
        ("I rate it 4 because it fits", 4),
        ("so I rate it 2", 2),
        ("I rate it 5. No: on second thoughts, I rate it 3.", 3),
        ("I first thought it weak, but I rate it 4 stars.", 4),
    ],
)
def test_ratings_of_the_whole_image_are_stated(trace, rating):
    assert FIVE.stated(trace) == rating - 1
    assert FIVE.stated(f"{trace}\n") == rating - 1


@pytest.mark.parametrize(
    "trace",
    [
        "",
        "three yes red no circles yes, crisp, 2 fit.",
        "There are 4 circles.",
        "sharpness: 4",
        "the colour rating: 4",
        "4 out of 5 for sharpness",
        "4 out of 5 circles are red",
        "I give it 4 for colours",
        "I would not rate it 5",
        "It is hardly the case that I rate it 5",
        "I don't rate it 5.",
        "should I rate it 5?",
        "If the hand were right, I would rate it 5",
        "whether I rate it 5 or not",
        "I rate it 3.5",
        "I rate it 4.5 out of 5.",
        "I rate it 3 or 4",
        "I rate it 3-4",
        "I rate it 3 – 4",
        "I rate it 8 out of 10",
        "I rate it 4 out of 10",
        "I rate it 4/10.",
        "I rate it 40%",
        "I rate it 45",
        "I rate it 7.",
    ],
)
def test_parts_other_scales_and_doubts_state_none(trace):
    assert FIVE.stated(trace) is None


def test_letters_count_in_their_own_case():
    letters = RatingVerdicts(["A", "B", "C"])
    assert letters.stated("I give it a B.") == 1
    assert letters.stated("I give it a score.") is None
    assert letters.stated("rating: A") == 0
    assert letters.stated("rating: a") is None


def test_zero_based_scales():
    assert RatingVerdicts(["0", "1", "2"]).stated("I rate it zero.") == 0


@pytest.mark.parametrize(
    ("trace", "left"),
    [
        ("crisp, 2 fit. I rate it 4.", "crisp, 2 fit."),
        ("I rate it 4. So there.", "So there."),
        ("Good. I would not rate it 5. Sharp.", "Good. Sharp."),
        ("4 out of 5 for sharpness.", "4 out of 5 for sharpness."),
        ("It is 3.5 cm wide. My rating is 2!", "It is 3.5 cm wide."),
    ],
)
def test_sentences_that_speak_of_a_rating_are_stripped(trace, left):
    assert FIVE.strip(trace) == left


@given(st.text(alphabet="I rate it 45 ou.of/,!?-an't\n", max_size=60))
def test_stripped_thoughts_state_nothing_and_are_a_part_of_them(trace):
    left = FIVE.strip(trace)
    assert FIVE.stated(left) is None
    assert all(line in trace for line in left.split(". ")[:1])


@pytest.mark.parametrize(
    "again", ["I rate it a ", "so then ", "rating of a ", "I really truly ", "4 out of ", "my the "]
)
def test_a_policy_that_repeats_itself_does_not_stall_the_search(again):
    started = time.perf_counter()
    FIVE.stated(again * 400)
    FIVE.strip(again * 400)
    assert time.perf_counter() - started < 2
