"""The rule that reads out of thoughts which of several images is the best."""

import pytest

from lit_listener.tasks.list_verdicts import list_verdicts

NUMBERS = list_verdicts(("1", "2", "3", "4"))
LETTERS = list_verdicts(("A", "B", "C"))


@pytest.mark.parametrize(
    ("trace", "verdict"),
    [
        ("Image 3 is the best.", 2),
        ("image 3 is best", 2),
        ("The third image is the best of the four.", 2),
        ("The 4th picture is by far the best one.", 3),
        ("Image #2 is the best.", 1),
        ("Image two is the best.", 1),
        ("I would choose image 2.", 1),
        ("Most people would prefer the first image.", 0),
        ("The best image is image 4.", 3),
        ("The winner is the second one.", 1),
        ("All in all, image 1 wins.", 0),
        ("Image 2 is better than all the others.", 1),
        ("Image 2 is better than the rest.", 1),
        ("Image 3 outperforms all others.", 2),
        ("Image 1 fits the prompt best.", 0),
        ("Image 4 matches the prompt most closely.", 3),
        ("The third is the one people would prefer.", 2),
        ("Verdict: **image 3**.", 2),
        ("So the answer is 4.", 3),
        # the last one wins
        ("Image 1 is the best. No, image 3 is the best.", 2),
        ("Image 1 is better than image 2, but image 3 is the best.", 2),
        # a comparison of two says nothing of the rest
        ("Image 3 is better than image 1.", None),
        ("Image 3 is better.", None),
        ("I prefer image 3 to image 1.", None),
        ("Image 3 beats image 1.", None),
        ("Image 3 is preferred to image 1.", None),
        ("Image 1 is worse than image 2.", None),
        ("Image 1 is the worst.", None),
        ("Image 2 is the second best.", None),
        ("Image 2 is one of the best.", None),
        # none stated
        ("", None),
        ("Image 3 is not the best.", None),
        ("Image 1 or image 2 is the best.", None),
        ("Is image 3 the best?", None),
        ("The light in image 3 is the best.", None),
        ("Image 3 is the best lit.", None),
        ("Image 3 has the best colours.", None),
        ("Image 7 is the best.", None),  # there is none
        ("Image 12 is the best.", None),
        ("The ninth image is the best.", None),
    ],
)
def test_stated_verdict(trace, verdict):
    assert NUMBERS.stated(trace) == verdict


@pytest.mark.parametrize(
    ("trace", "verdict"),
    [
        ("Image C is the best.", 2),
        ("The answer is B.", 1),
        ("The answer is a bit open.", None),  # "a" is a word, not the label A
        ("The second image is the best.", 1),
        ("Image 3 is the best.", 2),
        ("Image D is the best.", None),
    ],
)
def test_letters_are_labels_too(trace, verdict):
    assert LETTERS.stated(trace) == verdict


@pytest.mark.parametrize(
    ("trace", "left"),
    [
        ("Image 1 has two. Image 3 is the best. Image 2 is red.", "Image 1 has two. Image 2 is red."),
        ("Image 1 has two. Image 3 is not the best.", "Image 1 has two."),
        ("I would choose image 2! It is red.", "It is red."),
        ("It is red. So the answer is 4.", "It is red."),
        ("Image 3 is better than image 1.", "Image 3 is better than image 1."),
    ],
)
def test_strip_verdicts(trace, left):
    assert NUMBERS.strip(trace) == left
    assert NUMBERS.stated(NUMBERS.strip(trace)) is None
