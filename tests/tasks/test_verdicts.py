"""The rule that reads the verdict out of thoughts."""

import time

import pytest

from lit_listener.tasks.verdicts import pair_verdicts, stated_verdict, strip_verdicts


@pytest.mark.parametrize(
    ("trace", "verdict"),
    [
        ("The first image is better.", 0),
        ("first is better", 0),
        ("So second is better.", 1),
        ("image 1 is better", 0),
        ("Image 2 is better.", 1),
        ("Image 0 is blue. Image 1 is better.", 1),  # counted from zero
        ("Image 0 is better.", 0),
        ("Image B looks better than image A.", 1),
        ("The second one fits the prompt better.", 1),
        ("The second better matches the prompt.", 1),
        ("The first image matches the prompt more closely than the second.", 0),
        ("The second image is closer to the prompt.", 1),
        ("I prefer the first image.", 0),
        ("I would strongly prefer the second image to the first.", 1),
        ("Most people would choose the second one because it is sharp.", 1),
        ("The better image is the second one.", 1),
        ("All in all, the winner is the first image.", 0),
        ("Verdict: **second image**.", 1),
        ("My preference goes to the second image.", 1),
        ("The second image is the one people would prefer.", 1),
        ("The first image would likely be preferred.", 0),
        ("The first image seems to be by far the better choice.", 0),
        ("The second image clearly wins.", 1),
        ("The second image is the 2nd. The 1st picture is superior", 0),
        ("The first image is worse.", 1),
        ("So the answer is 1.", 1),
        ("Answer: 0", 0),
        ("The answer is not 0.", None),
        ("The first image, which has three circles, is better.", 0),
        ("The first image is better, not the second.", 0),
        ("Unlike the first image, the second is better.", 1),
        ("The second lacks a circle and is not red, so the first image is better.", 0),
        ("There is no doubt the first is better.", 0),
        # the last one wins
        ("The first is better. No, wait: the second is better.", 1),
        ("The second image is better lit, but the first image is better overall.", 0),
        ("The first is better at first sight, but I prefer the second.", 1),
        ("The second is better. The first is not better.", 1),
        # none stated
        ("", None),
        ("The first image shows three red circles, the second two.", None),
        ("The first is not better.", None),
        ("I don't think the first image is better.", None),
        ("I don’t think the second image is better.", None),
        ("Neither the first image is better nor the second.", None),
        ("The first image is no better than the second.", None),
        ("It is hard to say whether the second is better.", None),
        ("Is the first image better?", None),
        ("The first is better?", None),
        ("The first or the second is better.", None),
        ("The first image has better colours.", None),
        ("The lighting in the first image is better.", None),
        ("The first image is better lit.", None),
        ("The first circle is better.", None),
        ("I prefer the first circle.", None),
        ("The first image is more colourful.", None),
        ("It makes the image a better fit.", None),
        ("Image 12 is better.", None),
    ],
)
def test_stated_verdict(trace, verdict):
    assert stated_verdict(trace) == verdict


@pytest.mark.parametrize("kind", ["is better", "is the better one", "fits the prompt better", "wins"])
def test_swapped_names_swap_the_verdict(kind):
    assert stated_verdict(f"Red. The first image {kind}.") == 0
    assert stated_verdict(f"Red. The second image {kind}.") == 1


@pytest.mark.parametrize(
    ("trace", "left"),
    [
        (
            "The first has two. The second has three. So the second is better.",
            "The first has two. The second has three.",
        ),
        ("The first is not better. It is blue.", "It is blue."),
        ("I prefer the first image!\nIt is red.", "It is red."),
        ("It is red. So the answer is 1.", "It is red."),
        ("I don't prefer the first image. It is red.", "It is red."),
        ("It is red; it is 2.5 wide.", "It is red; it is 2.5 wide."),
        ("The first image is better", ""),
    ],
)
def test_strip_verdicts(trace, left):
    assert strip_verdicts(trace) == left
    assert stated_verdict(strip_verdicts(trace)) is None


@pytest.mark.parametrize(
    ("labels", "trace", "verdict"),
    [
        (("1", "2"), "The answer is 1.", 0),
        (("1", "2"), "Image 1 is better.", 0),
        (("1", "2"), "The answer is 0.", None),
        (("yes", "no"), "So the answer is yes.", 0),
        (("yes", "no"), "So the answer is No.", 1),  # which denies nothing
        (("yes", "no"), "The answer is not no.", None),
        (("yes", "no"), "The second image is better.", 1),
        (("A", "B"), "The answer is B.", 1),
        (("A", "B"), "The answer is a matter of taste.", None),
    ],
)
def test_other_labels_are_told_as_well(labels, trace, verdict):
    rules = pair_verdicts(labels)
    assert rules.stated(trace) == verdict
    if verdict is not None:
        assert rules.strip(f"It is red. {trace}") == "It is red."


@pytest.mark.parametrize(
    "phrase", ["people likely ", "the first is definitely ", "the first fits ", ", which is ", "ly"]
)
def test_a_trace_that_repeats_itself_is_read_in_time(phrase):
    started = time.perf_counter()
    stated_verdict(f"The first is {phrase * 300}")
    assert time.perf_counter() - started < 2.0
