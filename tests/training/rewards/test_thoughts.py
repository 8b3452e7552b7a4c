"""What is rewarded about the way thoughts are written, worked by hand."""

import pytest
import torch

from lit_listener.training.rewards import ContradictionPenalty, LanguageConsistency, Repetition
from lit_listener.training.rewards.thoughts import repeated_share
from tests.training.rewards.judging import judged, pair, transcript


def test_a_contradiction_costs_one():
    term = ContradictionPenalty()
    values = term(
        judged(
            [
                transcript("The first image is better.", 0),
                transcript("The first image is better.", 1),
                transcript("The second image is better.", 0),
                transcript("Both show a circle.", 1),  # states no verdict
                transcript("The first image is better.", None),  # no answer to contradict
                transcript(None, 1),
            ]
        )
    )
    assert values.tolist() == [0.0, -1.0, -1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("text", "words", "share"),
    [
        ("red red red red", 1, 3 / 4),  # one word of four is new
        ("red red red red", 2, 2 / 3),  # one pair of three
        ("red blue red blue red", 2, 2 / 4),  # red blue, blue red, and both again
        ("Red red", 1, 1 / 2),  # whatever its case
        ("a b c d e", 3, 0.0),
        ("a b", 3, 0.0),  # too short for any
        ("", 1, 0.0),
    ],
)
def test_the_share_of_repeated_ngrams_by_hand(text, words, share):
    assert repeated_share(text, words) == pytest.approx(share)
    assert float(Repetition(words)(judged([transcript(text)]))) == pytest.approx(-share)


def test_without_marked_thoughts_all_that_was_written_counts():
    rambling = transcript(None, None, text="so so so so")
    assert Repetition(1)(judged([rambling])).tolist() == [-0.75]


@pytest.mark.parametrize(
    ("thoughts", "scripts", "share"),
    [
        ("red круг", ["latin"], 3 / 7),
        ("red круг", ["LATIN", "CYRILLIC"], 1.0),
        ("red круг", None, 3 / 7),  # the prompt is in Latin letters
        ("rouge à côté", None, 1.0),  # French is in Latin letters too
        ("\uff52\uff45\uff44", None, 1.0),  # and so are full-width ones
        ("两个圆 ok", ["CJK"], 3 / 5),
        ("3 + 4!", ["LATIN"], 1.0),  # no letters, nothing in a wrong script
        ("", ["LATIN"], 1.0),
    ],
)
def test_the_share_of_letters_in_the_wanted_scripts(thoughts, scripts, share):
    value = LanguageConsistency(scripts)(judged([transcript(thoughts)]))
    assert float(value) == pytest.approx(share)


def test_the_prompts_own_scripts():
    shown = [pair(1.0, prompt="два красных круга"), pair(1.0, prompt="赤い丸 two"), pair(1.0, prompt="123")]
    read = [transcript("красный red"), transcript("赤い丸 ok да"), transcript("anything, что угодно")]
    values = LanguageConsistency()(judged(read, shown))
    # 7 of 10 letters; 5 of 7 (CJK, HIRAGANA and LATIN are the prompt's); a prompt without letters asks for none
    torch.testing.assert_close(values, torch.tensor([7 / 10, 5 / 7, 1.0]))


def test_unknown_scripts_and_lengths_are_named():
    with pytest.raises(ValueError, match="LanguageConsistency: scripts: 'ENGLISH' is no script; expected such"):
        LanguageConsistency(["english"])
    with pytest.raises(ValueError, match="Repetition: words: expected at least 1 word an n-gram, got 0"):
        Repetition(0)
