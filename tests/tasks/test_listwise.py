"""The listwise task: which of several images is the best, with scores for all of them at one place."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lit_listener.data.records import PreferencePair, RankedList
from lit_listener.data.shown import Demonstration, ShownList, ShownPair
from lit_listener.tasks import Listwise, PairwisePreference, Task

IMAGES = tuple(Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in range(12))
TERSE = "{prompt}.{% for label in labels %} image {{ label }} {image}{% endfor %} Which is best?"


def show(ranks: tuple[float, ...] = (2, 1, 3), order: tuple[int, ...] | None = None) -> ShownList:
    ranked = RankedList(
        "three cats", IMAGES[: len(ranks)], ranks, "l7", "p", generators=("",) * len(ranks), columns={"taste": "bold"}
    )
    return ShownList(ranked, order or tuple(range(len(ranks))), index=0)


def task(**other: object) -> Listwise:
    return Listwise(TERSE, system=None, **other)  # type: ignore[arg-type]


def answers(one: Listwise, *texts: str):
    return [one.parse([f"<think>a</think><answer>{text}</answer>".encode()], truncated=False) for text in texts]


def words(question) -> str:
    return "".join(part.get("text", "[]") for part in question.messages[-1]["content"])


def test_the_task_is_a_task():
    one: Task = Listwise()
    assert one.labels == tuple("123456789")


# ---- asking ----------------------------------------------------------------------------------------------------------


def test_a_list_is_shown_whole_in_displayed_order():
    question = task().encode(show((2, 1, 3), order=(2, 0, 1)))
    assert words(question) == "three cats. image 1 [] image 2 [] image 3 [] Which is best?"
    assert question.images == (IMAGES[2], IMAGES[0], IMAGES[1])
    assert question.label == 2  # rank 1 is the second image of the list, and the third displayed


def test_the_default_wording_names_the_images_shown_and_no_others():
    text = words(Listwise().encode(show((1, 2, 3))))
    assert text.startswith("3 images were generated")
    assert "Image 1:\n[]\nImage 2:\n[]\nImage 3:\n[]\n\nThink" in text
    assert text.endswith("<think>your thoughts</think><answer>1 or 2 or 3</answer>")
    letters = Listwise(labels=("A", "B", "C"), answer="Image {label}", thinks=False)
    assert words(letters.encode(show((1, 2)))).endswith("nothing else:\n<answer>Image A or Image B</answer>")
    assert words(letters.retell_question(show((1, 2)))).endswith("Image A or Image B.")


@pytest.mark.parametrize(("ranks", "label"), [((1, 1, 2), 0), ((3, 1, 1), 1), ((2, 2, 1), 2), ((1, 1), None)])
def test_the_first_of_the_best_is_the_label_and_none_where_all_tie(ranks, label):
    assert task().encode(show(ranks)).label == label


def test_lists_of_other_sizes_and_other_things_are_refused():
    few = task(labels=("1", "2", "3"))
    for ranks in ((1.0,), (1.0, 2.0, 3.0, 4.0)):
        with pytest.raises(ValueError, match=r"list l7 has . images; expected 2 to 3, as many as there are labels"):
            few.encode(show(ranks))
    assert few.max_images == 3
    pair = ShownPair(PreferencePair("p", *IMAGES[:2], 0.8, 5, "p7", "p"), "a", 0)
    with pytest.raises(TypeError, match=r"Listwise asks about ranked lists of images, got pair p7 \(ShownPair\)"):
        task().encode(pair)
    with pytest.raises(TypeError, match=r"PairwisePreference is about pairs of images, got list l7 \(ShownList\)"):
        PairwisePreference().encode(show())


def test_a_template_without_a_loop_is_told():
    with pytest.raises(ValueError, match="template, filled for list l7, has 1 image slots for 3 images"):
        Listwise("{prompt} {image}").encode(show())
    with pytest.raises(ValueError, match=r"template: \{image\} occurs 2 times"):
        Listwise("{prompt} {image} {image}")


# ---- rewarding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranks", "rewards"),
    [
        # Ranks 2, 1, 3: image 1 beats one of two others, image 2 both, image 3 none.
        ((2, 1, 3), (1 / 2, 1, 0)),
        # Ranks 1, 2, 2, 3: image 2 ties with image 3, and of the other two it beats image 4: 1/2.
        ((1, 2, 2, 3), (1, 1 / 2, 1 / 2, 0)),
        # Ranks 1, 1, 5: both of the best beat the one that does not tie with them.
        ((1, 1, 5), (1, 1, 0)),
        # Only the order of ranks counts, not how far they lie apart.
        ((10.5, -3, 11), (1 / 2, 1, 0)),
    ],
)
def test_the_reward_is_the_share_of_images_that_the_answer_beats(ranks, rewards):
    one = task()
    transcripts = answers(one, *[str(n + 1) for n in range(len(ranks))])
    assert one.accuracy_reward(transcripts, [show(ranks)] * len(ranks)) == pytest.approx(rewards)
    reversed_order = tuple(reversed(range(len(ranks))))
    turned = one.accuracy_reward(transcripts, [show(ranks, reversed_order)] * len(ranks))
    assert turned == pytest.approx(tuple(reversed(rewards)))


def test_what_cannot_be_read_or_is_not_shown_earns_nothing():
    one = task()
    transcripts = answers(one, "4", "9", "10", "", "the first")
    assert one.accuracy_reward(transcripts, [show()] * 5) == [0.0] * 5
    assert one.format_reward(transcripts) == [1.0, 1.0, 0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="got 1 for 5"):
        one.accuracy_reward(transcripts, [show()])


def test_a_list_of_ties_alone_has_no_right_answer():
    one = task()
    with pytest.raises(ValueError, match="list l7: all its images tie"):
        one.accuracy_reward(answers(one, "1"), [show((1, 1, 1))])
    with pytest.raises(ValueError, match="list l7: all its images tie"):
        one.agreement(torch.full((1, 9), 1 / 9), [show((1, 1, 1))])


def test_a_list_teaches_where_people_rank_any_image_above_another():
    task().refuse_undecided(show((1, 1, 2)))
    with pytest.raises(ValueError, match="all its images tie"):
        task().refuse_undecided(show((1, 1, 1)))


def test_agreement_by_hand():
    # Ranks 2, 1, 3 and p = 0.2, 0.5, 0.1 (0.2 on labels that are not shown). The better over the worse image:
    # 2 over 1: 0.5 / 0.7; 1 over 3: 0.2 / 0.3; 2 over 3: 0.5 / 0.6. Their mean: (0.714286 + 0.666667 + 0.833333) / 3.
    # Ranks 1, 2, 2 and p = 0.1, 0.3, 0.4: 0.1 / 0.4 and 0.1 / 0.5; the tie is left out: (0.25 + 0.2) / 2.
    p_label_NL = torch.tensor([[0.2, 0.5, 0.1, 0.2], [0.1, 0.3, 0.4, 0.2]], dtype=torch.float64)
    one = task(labels=("1", "2", "3", "4"))
    agreement_N = one.agreement(p_label_NL, [show((2, 1, 3)), show((1, 2, 2))])
    assert agreement_N.tolist() == pytest.approx([(5 / 7 + 2 / 3 + 5 / 6) / 3, 0.225])


def test_agreement_where_probabilities_vanish():
    one = task(labels=("1", "2", "3"))
    p_label_NL = torch.tensor([[0.0, 0.0, 1.0]])
    # 1 over 2: level, for both vanish; 1 over 3: 0; 2 over 3: 0. 0.5 / 3.
    assert float(one.agreement(p_label_NL, [show((1, 2, 3))])) == pytest.approx(0.5 / 3)


@given(st.lists(st.integers(1, 3), min_size=2, max_size=5), st.lists(st.floats(0.01, 1), min_size=5, max_size=5))
def test_agreement_against_a_plain_loop_in_any_order_and_scale(ranks, weights):
    if len(set(ranks)) == 1:
        return
    one, count = task(labels=tuple("12345")), len(ranks)
    p_L = torch.tensor(weights, dtype=torch.float64)
    p_L = p_L / p_L.sum()
    pairs = [(i, j) for i, j in itertools.permutations(range(count), 2) if ranks[i] < ranks[j]]
    expected = sum(weights[i] / (weights[i] + weights[j]) for i, j in pairs) / len(pairs)
    shown = show(tuple(float(rank) for rank in ranks))
    assert float(one.agreement(p_L[None], [shown])) == pytest.approx(expected, abs=1e-9)
    absent_L = p_L.clone()
    absent_L[count:] = 0.77  # labels that are not shown have no say
    assert float(one.agreement(absent_L[None], [shown])) == pytest.approx(expected, abs=1e-9)
    turned = torch.cat([p_L[:count].flip(0), p_L[count:]])
    shown = show(tuple(float(rank) for rank in ranks), tuple(reversed(range(count))))
    assert float(one.agreement(turned[None], [shown])) == pytest.approx(expected, abs=1e-9)


# ---- judging a pair --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share_a", "first", "images", "label"),
    [(0.8, "a", (0, 1), 0), (0.8, "b", (1, 0), 1), (0.2, "a", (0, 1), 1), (0.5, "b", (1, 0), None)],
)
def test_a_pair_is_a_list_of_two_in_its_display_order(share_a, first, images, label):
    pair = PreferencePair("three cats", *IMAGES[:2], share_a, 5, "p7", "p", columns={"taste": "bold"})
    shown = ShownPair(pair, first, index=3, epoch=2, counted=False)
    (part,) = task().parts(shown)
    assert (part.index, part.epoch, part.counted, part.columns) == (3, 2, False, {"taste": "bold"})
    question = task().encode(part)
    assert question.images == tuple(IMAGES[place] for place in images)
    assert question.label == shown.label == label


def test_a_preference_between_two_by_luces_axiom():
    one = task()
    # p(second) = 0.3 / (0.1 + 0.3); the 0.6 on labels that are not shown have no say.
    assert one.p_second(torch.tensor([[0.1, 0.3, 0.6]])) == pytest.approx(0.75)
    assert [one.verdict([answer]) for answer in (0, 1, 2, None)] == [0, 1, None, None]


# ---- words -----------------------------------------------------------------------------------------------------------


def test_contradiction_stripping_and_words():
    one = task()
    good, bad = (
        one.parse([f"<think>Image 3 is the best.</think><answer>{label}</answer>".encode()], truncated=False)
        for label in (3, 1)
    )
    assert (one.contradicts(good), one.contradicts(bad)) == (False, True)
    assert one.strip_verdicts("Image 1 is red. Image 3 is the best.") == "Image 1 is red."
    assert one.in_words(2) == "3 (image 3 is the best)"
    text = one.write(Demonstration(show(), "Image 2 is the best.", 1))
    assert text == "<think>Image 2 is the best.</think><answer>2</answer>"


# ---- scores ----------------------------------------------------------------------------------------------------------


def test_scores_are_shares_of_the_images_shown():
    p_NL = torch.tensor([[0.1, 0.3, 0.6], [0.0, 0.0, 1.0]], dtype=torch.float64)
    few = task(labels=("1", "2", "3"))
    # of two images: 0.1 / 0.4 and 0.3 / 0.4; level where the third label has it all
    assert few.scores(p_NL, 2).tolist() == [pytest.approx([0.25, 0.75]), [0.5, 0.5]]
    assert few.scores(p_NL, 3).tolist() == [pytest.approx([0.1, 0.3, 0.6]), [0.0, 0.0, 1.0]]
    for count in (0, 4):
        with pytest.raises(ValueError, match=f"expected 1 to 3 images, as many as there are labels, got {count}"):
            few.scores(p_NL, count)


@given(st.lists(st.floats(0, 1), min_size=9, max_size=9), st.integers(2, 9))
def test_scores_sum_to_one_and_of_two_are_the_preference(p, count):
    p_1L = torch.tensor([p], dtype=torch.float64)
    scores = task().scores(p_1L, count)
    assert scores.shape == (1, count)
    assert float(scores.sum()) == pytest.approx(1, abs=1e-9)
    assert task().p_second(p_1L) == pytest.approx(float(task().scores(p_1L, 2)[0, 1]), abs=1e-12)
