"""Ratings of one image: the question, the rewards, and what becomes of a pair; numbers worked by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lit_listener.data.records import ListPlaces, PreferencePair
from lit_listener.data.shown import Demonstration, ShownImage, ShownPair
from lit_listener.tasks import AbsoluteRating, NearMisses, Outcome, PairwisePreference, RatesImages, Transcript
from lit_listener.vlm.encoding import label_token_ids

PICTURE = Image.new("RGB", (4, 4))
TASK = AbsoluteRating()


def image(share: float | None, **changes) -> ShownImage:
    return ShownImage(
        **{"prompt": "a cat", "image": PICTURE, "name": "rating r1", "index": 0, "share": share, **changes}
    )


def pair(first: str = "a", listed: ListPlaces | None = None, pair_id: str = "p") -> ShownPair:
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    made = PreferencePair("a cat", red, blue, 1.0, 3, pair_id, "q", listed=listed, columns={"taste": "red"})
    return ShownPair(made, first, index=7, epoch=2)


def answered(answer: int | None, think: str = "fine") -> Transcript:
    return Transcript("text", Outcome.OK if answer is not None else Outcome.NO_ANSWER, think, answer, 3)


# ---- asking ----------------------------------------------------------------------------------------------------------


def test_the_question_shows_one_image_and_the_scale():
    question = AbsoluteRating(
        ratings=3, template="{prompt}: {image} {{ lowest }} to {{ highest }}?", system=None
    ).encode(image(1))
    assert question.images == (PICTURE,)
    assert question.messages == (
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a cat: "},
                {"type": "image"},
                {"type": "text", "text": " 1 to 3?"},
            ],
        },
    )


def test_a_prompt_is_no_template():
    text = "{image} {{ lowest }} {prompt}"
    question = TASK.encode(image(0.5, prompt=text))
    assert text in question.messages[-1]["content"][0]["text"]
    with pytest.raises(ValueError, match=r"the prompt of rating r1 holds the chat token <\|image_pad\|>"):
        TASK.encode(image(0.5, prompt="<|image_pad|>"))


@pytest.mark.parametrize(
    ("share", "ratings", "label"),
    [
        (0.0, 5, 0),
        (1.0, 5, 4),
        (0.5, 5, 2),
        (0.375, 5, 2),  # 0.375 * 4 = 1.5, half a rating, rounded up
        (0.374, 5, 1),  # 1.496
        (0.125, 5, 1),  # 0.5, which banker's rounding would take to 0
        (0.5, 2, 1),  # 0.5
        (2 / 3, 7, 4),  # 4 of 6: rating 5 of 7
    ],
)
def test_peoples_rating_is_the_nearest_label(share, ratings, label):
    assert AbsoluteRating(ratings=ratings).encode(image(share)).label == label


def test_nobodys_rating_is_no_label():
    assert TASK.encode(image(None)).label is None
    with pytest.raises(ValueError, match="rating r1 has no rating by people"):
        TASK.accuracy_reward([answered(0)], [image(None)])
    with pytest.raises(ValueError, match="rating r1 has no rating by people"):
        TASK.agreement(torch.full((1, 5), 0.2), [image(None)])


def test_a_pair_is_refused():
    with pytest.raises(TypeError, match=r"AbsoluteRating asks about one image at a time, got pair p \(ShownPair\)"):
        TASK.encode(pair())
    with pytest.raises(TypeError, match="pairs of images"):
        PairwisePreference().encode(image(0.5))


def test_demonstrations_are_written_with_the_label():
    assert TASK.write(Demonstration(image(0.5), "so so", 2)) == "<think>so so</think><answer>3</answer>"
    lettered = AbsoluteRating(ratings=3, labels=["A", "B", "C"])
    assert lettered.write(Demonstration(image(1), "good", 2)) == "<think>good</think><answer>C</answer>"
    with pytest.raises(ValueError, match=r"answer must be .*got 5"):
        TASK.write(Demonstration(image(0.5), "so so", 5))


def test_answers_alone_and_wordings_in_files(tmp_path):
    plain = AbsoluteRating(thinks=False, answer="Rating: {label}")
    assert plain.write(Demonstration(image(1), "unsaid", 4)) == "<answer>Rating: 5</answer>"
    assert "<think>" not in plain.encode(image(1)).messages[-1]["content"][-1]["text"]
    file = tmp_path / "mine.yaml"
    file.write_text(
        'ratings: 3\nlabels: [low, mid, high]\napproximate: [1.0]\ntemplate: "{prompt} {image} {{ taste }}"\n'
    )
    task = AbsoluteRating(file=str(file))
    assert (task.labels, task.approximate) == (("low", "mid", "high"), (1.0,))
    asked = task.encode(image(1, columns={"taste": "gaudy"})).messages[-1]["content"]
    assert asked[-1]["text"] == " gaudy"


# ---- the scale -------------------------------------------------------------------------------------------------------


def test_ten_ratings_need_other_labels():
    with pytest.raises(ValueError, match=r"labels: '1' begins '10'.*such as the letters A, B, C"):
        AbsoluteRating(ratings=10)
    assert AbsoluteRating(ratings=10, labels=list("0123456789")).labels[9] == "9"
    assert AbsoluteRating(ratings=10, labels=list("ABCDEFGHIJ")).in_words(9) == "J (on a scale from A to J)"


def test_a_label_of_several_tokens_is_refused_with_a_way_out(judge_tokenizer):
    assert len(label_token_ids(judge_tokenizer, AbsoluteRating(10, list("ABCDEFGHIJ")).labels)) == 10
    with pytest.raises(ValueError, match=r"lacks the answer label 'poor'.*Choose other labels"):
        label_token_ids(judge_tokenizer, AbsoluteRating(2, ["poor", "good"]).labels)


@pytest.fixture(scope="module")
def judge_tokenizer():
    from transformers import AutoTokenizer  # noqa: PLC0415  # slow to import

    from lit_listener.vlm.specs import BUNDLED  # noqa: PLC0415

    return AutoTokenizer.from_pretrained(BUNDLED["shapes-instruct"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratings": 1}, "ratings: expected a whole number of at least 2, got 1"),
        ({"ratings": 2.0}, "ratings: expected a whole number"),
        ({"ratings": 3, "labels": ["1", "2"]}, "labels: expected one for each of ratings=3, got 2"),
        ({"ratings": 2, "labels": [1, 2]}, "in YAML, write numbers in quotation marks"),
        ({"ratings": 2, "labels": ["1 ", "2"]}, "white space at its ends"),
        ({"approximate": []}, "approximate: expected rewards"),
        ({"approximate": [0.5, 0.75]}, "do not rise with the distance"),
        ({"approximate": [1.5]}, "approximate: expected rewards in"),
        ({"file": "nowhere", "ratings": 3}, "ratings and file are both given"),
        ({"template": "{image}"}, "template: {prompt} is missing"),
        ({"template": "{prompt} {image} {image}"}, "template: {image} occurs 2 times"),
        ({"continuation": "mine"}, "continuation must hold"),
    ],
)
def test_what_is_no_scale_or_wording_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AbsoluteRating(**options)


# ---- rewarding -------------------------------------------------------------------------------------------------------


def test_exact_and_approximate_match_by_hand():
    shown = [image(0.75)] * 6  # 0.75 * 4 = 3: rating 4
    transcripts = [answered(n) for n in (3, 4, 2, 1, 0, None)]
    assert TASK.accuracy_reward(transcripts, shown) == [1, 0, 0, 0, 0, 0]
    # distances 0, 1, 1, 2, 3, none
    assert TASK.approximate_reward(transcripts, shown) == [1, 0.75, 0.75, 0.5, 0, 0]
    assert AbsoluteRating(approximate=[1, 0.2]).approximate_reward(transcripts, shown) == [1, 0.2, 0.2, 0, 0, 0]
    with pytest.raises(ValueError, match="one image a transcript, got 6 for 1"):
        TASK.accuracy_reward(transcripts[:1], shown)


def test_the_expected_rating_by_hand():
    p_NL = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.0], [0, 0, 0, 0, 1.0], [1.0, 0, 0, 0, 0], [0.5, 0, 0, 0, 0.5]])
    # (0.2 * 1 + 0.3 * 2 + 0.4 * 3) / 4 = 2 / 4
    assert TASK.score(p_NL).tolist() == pytest.approx([0.5, 1.0, 0.0, 0.5])
    # people: 0.75; |0.5 - 0.75| = 0.25, |1 - 0.75| = 0.25, |0 - 0.75| = 0.75
    assert TASK.agreement(p_NL, [image(0.75)] * 4).tolist() == pytest.approx([0.75, 0.75, 0.25, 0.75])


@given(st.lists(st.floats(0.01, 1), min_size=5, max_size=5), st.floats(0, 1))
def test_agreement_is_a_share_and_best_at_peoples_rating(weights, share):
    p_NL = torch.tensor([weights], dtype=torch.float64)
    p_NL = p_NL / p_NL.sum()
    plain = sum(place / 4 * p for place, p in enumerate(p_NL[0].tolist()))
    assert TASK.score(p_NL).item() == pytest.approx(plain, abs=1e-6)
    assert TASK.agreement(p_NL, [image(share)]).item() == pytest.approx(1 - abs(plain - share), abs=1e-6)
    assert TASK.agreement(p_NL, [image(plain)]).item() == pytest.approx(1, abs=1e-6)


# ---- judging a pair --------------------------------------------------------------------------------------------------


def test_a_pair_is_judged_by_its_two_images_in_displayed_order():
    first, second = TASK.parts(pair("b"))
    assert (first.image.getpixel((0, 0)), second.image.getpixel((0, 0))) == ((0, 0, 255), (255, 0, 0))
    assert [part.name for part in (first, second)] == ["image b of pair p", "image a of pair p"]
    assert (first.share, first.index, first.epoch, first.columns, first.prompt) == (
        None,
        7,
        2,
        {"taste": "red"},
        "a cat",
    )
    assert [part.identity for part in TASK.parts(pair("a"))] == [second.identity, first.identity]


def test_an_image_of_a_list_is_one_in_all_its_pairs():
    names = [
        [part.identity for part in TASK.parts(pair("a", ListPlaces("L", a, b, 1, 2), f"L-{a}-{b}"))]
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    assert names[0][0] == names[1][0]
    assert names[1][1] == names[2][1]
    assert len({name for both in names for name in both}) == 3


def test_the_second_image_is_preferred_by_the_difference_of_scores():
    p_KL = torch.tensor([[0, 0, 0, 1.0, 0], [0, 0.5, 0.5, 0, 0]])
    # scores 0.75 and 0.375: 0.5 + 0.5 * (0.375 - 0.75)
    assert TASK.p_second(p_KL) == pytest.approx(0.3125)
    assert TASK.p_second(p_KL.flip(0)) == pytest.approx(1 - 0.3125)


@pytest.mark.parametrize(
    ("answers", "verdict"), [((1, 4), 1), ((4, 1), 0), ((2, 2), None), ((None, 3), None), ((3, None), None)]
)
def test_the_higher_answer_wins(answers, verdict):
    assert TASK.verdict(answers) == verdict


def test_answers_are_told_in_words_and_contradictions_found():
    assert TASK.in_words(3) == "4 (on a scale from 1 to 5)"
    assert TASK.contradicts(answered(3, "It fits. I rate it 2."))
    assert not TASK.contradicts(answered(3, "It fits. I rate it 4."))
    assert not TASK.contradicts(answered(None, "I rate it 2."))
    assert TASK.strip_verdicts("It fits. I rate it 4. Nice.") == "It fits. Nice."


def test_it_is_a_task_that_rates_images():
    assert isinstance(TASK, RatesImages)
    assert isinstance(TASK, NearMisses)
    assert not isinstance(PairwisePreference(), RatesImages)
    assert not isinstance(PairwisePreference(), NearMisses)
