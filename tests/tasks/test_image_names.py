"""Images' names changed over: what is a name, what is none, and what is not sure."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_listener.data.shapes import ShapesPairs, ShapesTraces
from lit_listener.data.shapes.traces import attribute_accuracy, displayed_scenes
from lit_listener.data.shown import ShownPair
from lit_listener.tasks import PairwisePreference
from lit_listener.tasks.image_names import NamesImages, swap_images
from lit_listener.tasks.verdicts import stated_verdict

CHANGED = [
    ("The first image is red; the second one has two.", "The second image is red; the first one has two."),
    ("first: red. second: blue. the first is better.", "second: red. first: blue. the second is better."),
    ("Image 1 is better than image 2.", "Image 2 is better than image 1."),
    ("image 0 wins over image 1", "image 1 wins over image 0"),
    ("Image A beats Image B.", "Image B beats Image A."),
    ("Picture #2 has it; option number one has not.", "Picture #1 has it; option number two has not."),
    ("At first glance the second image wins.", "At first glance the first image wins."),
    ("First of all, IMAGE TWO is crisp.", "First of all, IMAGE ONE is crisp."),
    ("I prefer the first.", "I prefer the second."),
    ("The 1st picture is crisp, the 2nd picture is not.", "The 2nd picture is crisp, the 1st picture is not."),
    ("the second's colours are right, and so the answer is 1", "the first's colours are right, and so the answer is 0"),
    ("The FIRST image; the Second image", "The SECOND image; the First image"),
    ("the best is the first, although the second is crisp", "the best is the second, although the first is crisp"),
]


@pytest.mark.parametrize(("trace", "other"), CHANGED)
def test_names_are_changed_over_and_back(trace, other):
    assert swap_images(trace) == other
    assert swap_images(other) == trace


@pytest.mark.parametrize("trace", ["", "Three red circles in both.", "Both are fine; neither is firstly worse."])
def test_what_names_no_image_stays(trace):
    assert swap_images(trace) == trace


@pytest.mark.parametrize(
    "trace",
    [
        "First, look at the sky.",
        "the first circle is red",
        "a second sun",
        "A is better than B",
        "the left image is nicer",
        "the one on the right wins",
        "the last image is best",
        "the third picture",
        "images 1 and 2 differ",
        "image 3 is better",
        "#1 is better",
        "image 0, image 1, image 2",
        "image 0 is better",  # as image 1 it would be the first again
        "the first image is better, and the second circle is red",
    ],
)
def test_where_a_name_is_not_sure_nothing_is_changed(trace):
    assert swap_images(trace) is None


NAMES = [
    ("the first image", "the second image"),
    ("image 1", "image 2"),
    ("Image A", "Image B"),
    ("the 1st one", "the 2nd one"),
]
SENTENCES = [
    "{0} is better. ",
    "{0} shows two red circles, and {1} shows three. ",
    "I prefer {1}. ",
    "All in all {0} fits the prompt better than {1}. ",
    "The colours of {1} are faint; those of {0} are not. ",
    "{1} is not better. ",
    "Both have a white ground. ",
]


@given(st.lists(st.tuples(st.sampled_from(SENTENCES), st.booleans()), max_size=6), st.sampled_from(NAMES))
def test_the_verdict_is_changed_over_too(sentences, names):
    trace = "".join(text.format(*(names[::-1] if turned else names)) for text, turned in sentences)
    other = swap_images(trace)
    assert other == "".join(text.format(*(names if turned else names[::-1])) for text, turned in sentences)
    verdict = stated_verdict(trace)
    assert stated_verdict(other) == (None if verdict is None else 1 - verdict)


@given(st.text(alphabet=st.sampled_from(list("the first second image 12AB,.: left one answer is0")), max_size=80))
def test_changing_over_twice_changes_nothing(trace):
    other = swap_images(trace)
    if other is not None:
        assert swap_images(other) == trace


def test_written_thoughts_about_shapes_are_true_of_the_pair_in_the_other_order():
    pairs, write = ShapesPairs(["flat"], 60, "test"), ShapesTraces({"thorough": 0.6, "hasty": 0.4})
    for n in range(60):
        shown = ShownPair(pairs[n], "a", n)
        trace = write(shown).trace
        other = swap_images(trace)
        assert other is not None
        turned = displayed_scenes(replace(shown, first="b"))
        assert attribute_accuracy(other, turned) == attribute_accuracy(trace, displayed_scenes(shown))
        assert stated_verdict(other) == 1 - stated_verdict(trace)


def test_a_pairwise_task_knows_how_images_are_named():
    task = PairwisePreference()
    assert isinstance(task, NamesImages)
    assert task.swap_images("the first is better.") == "the second is better."
