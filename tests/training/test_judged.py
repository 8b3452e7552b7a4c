"""What is made of several questions about one pair, by hand."""

import pytest
import torch

from lit_listener.data.records import ListPlaces, PreferencePair
from lit_listener.data.shown import Shown, ShownImage, ShownPair
from lit_listener.tasks import Listwise, Outcome, PairwisePreference, Transcript
from lit_listener.training.examination import Findings
from lit_listener.training.judged import Completed, Parts
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.listeners import Heard
from tests.tasks.test_pairwise import BLUE, RED


class Stars(PairwisePreference):
    """Three labels worth 0, 0.5 and 1, given to each image by itself."""

    labels = ("1", "2", "3")  # type: ignore[misc]

    def parts(self, pair: ShownPair) -> tuple[Shown, ...]:
        items = (pair.pair.listed.item_a, pair.pair.listed.item_b) if pair.pair.listed else ("a", "b")
        order = (0, 1) if pair.first == "a" else (1, 0)
        return tuple(
            ShownImage(pair.prompt, image, f"image {items[side]}", pair.index)
            for side, image in zip(order, pair.images, strict=True)
        )

    def p_second(self, p_label_KL: torch.Tensor) -> float:
        first, second = (p_label_KL @ torch.tensor([0.0, 0.5, 1.0])).tolist()
        return 0.5 + 0.5 * (second - first)

    def verdict(self, answers):
        first, second = answers
        if first is None or second is None or first == second:
            return None
        return int(second > first)


def pair(first="a", a=0, b=1) -> ShownPair:
    listed = ListPlaces("list", a, b, 1.0, 2.0)
    return ShownPair(PreferencePair("p", RED, BLUE, 1.0, 1, f"list-{a}-{b}", "p", listed=listed), first, 0)


def completed(answers: list[int | None], p_label: list[list[float]], heard: list[list[float]]) -> Completed:
    count = len(answers)
    return Completed(
        Completions(
            ids_NT=torch.zeros(count, 2, dtype=torch.long),
            mask_NT=torch.tensor([[True, n > 0] for n in range(count)]),
            truncated_N=torch.tensor([False] * (count - 1) + [True]),
            label_logits_NTL=torch.tensor(p_label)[:, None].log(),
        ),
        [
            Transcript("", Outcome.OK if answer is not None else Outcome.NO_ANSWER, f"trace {n}", answer, 0)
            for n, answer in enumerate(answers)
        ],
        Heard(torch.tensor(heard), torch.ones(count, dtype=torch.bool), torch.zeros(count)),
        Findings(without_thinking_NL=torch.tensor(heard), p_contradiction=[0.25, None][:count]),
    )


def test_pairs_of_a_list_share_the_images_they_are_judged_by():
    parts = Parts.of(Stars(), [pair(), pair("b"), pair(a=1, b=2), pair(a=0, b=2)])
    assert [shown.name for shown in parts.shown] == ["image 0", "image 1", "image 2"]
    assert parts.of_pairs == [(0, 1), (1, 0), (1, 2), (0, 2)]
    assert parts.keys == [("judge", "image 0"), ("judge", "image 1"), ("judge", "image 2")]


def test_a_pair_is_its_own_part_in_each_display_order():
    parts = Parts.of(PairwisePreference(), [pair(), pair("b"), pair()])
    assert parts.keys == [("judge", "list-0-1", "a"), ("judge", "list-0-1", "b")]
    assert parts.of_pairs == [(0,), (1,), (0,)]


def test_a_row_is_made_of_both_ratings():
    given = completed([2, 1], [[0.1, 0.1, 0.8], [0.2, 0.6, 0.2]], [[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])
    row = given.said(Stars(), pair(), [0, 1])
    assert (row["answer"], row["level"], row["outcome"]) == (0, False, "ok")
    assert row["p_second"] == pytest.approx(0.5 + 0.5 * (0.5 - 0.85))  # 0.2·0 + 0.6·0.5 + 0.2 less 0.05 + 0.8
    assert row["likeliest_p_second"] == pytest.approx(0.5 + 0.5 * (0.5 - 1.0))
    assert row["listener_p_second"] == pytest.approx(0.5 + 0.5 * (0.0 - 0.75))
    assert row["listener_p_correct"] == pytest.approx(1 - 0.125)  # the first image is preferred
    assert row["p_second_without_thinking"] == pytest.approx(0.125)
    assert (row["length"], row["truncated"], row["trace"]) == (1 + 2, True, "trace 0\n\ntrace 1")
    assert row["p_contradiction"] == 0.25
    swapped = given.said(Stars(), pair("b"), [1, 0])
    assert swapped["p_second"] == pytest.approx(1 - row["p_second"])
    assert swapped["answer"] == 1


def test_equal_ratings_are_level_and_a_missing_one_is_not():
    flat = [[0.2, 0.6, 0.2]] * 2
    level = completed([1, 1], flat, flat).said(Stars(), pair(), [0, 1])
    assert (level["answer"], level["level"], level["outcome"]) == (None, True, "ok")
    alone = completed([2], [[0.1, 0.1, 0.8]], [[0.0, 0.5, 0.5]])  # of two images the third was named
    row = alone.said(Listwise(labels=("1", "2", "3")), pair(), [0])
    assert (row["answer"], row["level"], row["outcome"]) == (None, False, "bad_label")
    assert (row["p_second"], row["likeliest_p_second"]) == (0.5, 0.5)
    above = completed([2], [[0.1, 0.2, 0.7]], [[0.0, 0.5, 0.5]])  # of the images shown the second is likelier
    assert above.said(Listwise(labels=("1", "2", "3")), pair(), [0])["likeliest_p_second"] == 1.0
    missing = completed([1, None], flat, flat).said(Stars(), pair(), [0, 1])
    assert (missing["answer"], missing["level"], missing["outcome"]) == (None, False, "no_answer")
