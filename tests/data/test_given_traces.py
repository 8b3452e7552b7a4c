import json
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lit_listener.data.demonstrators import GivenTraces
from lit_listener.data.shown import ShownPair
from lit_listener.data.sources import ImageGenCoT, TraceTable
from lit_listener.tasks import PairwisePreference
from tests.data.tables import BLUE, RED, png, write

QUESTION = (
    "<image>\n<image>\nCompare the two images in detail, and answer 'Image 1 is better' or 'Image 2 is better'.\n"
    "Your task is provided as follows:\nText Caption: [{}]"
)


def conversation(prompt="a cat", think="Image 1: 9. Image 2: 4.", answer="Image 1 is better", **change) -> dict:
    reply = f"<think>\n{think}\n</think>\n<answer>{answer}</answer>"
    turns = [{"from": "human", "value": QUESTION.format(prompt)}, {"from": "gpt", "value": reply}]
    return {"conversations": turns, "images": ["pictures/red.png", "pictures/blue.png"]} | change


def turns(*said: tuple[str, str]) -> list[dict]:
    return [{"from": speaker, "value": value} for speaker, value in said]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_conversations(folder, suffix):
    rows = [conversation(), conversation("two [red] dogs", "Both lack a dog.", " Image 2 is better\n")]
    path = folder / f"cot{suffix}"
    path.write_text(json.dumps(rows)) if suffix == ".json" else write(path, rows)
    first, second = (ImageGenCoT(path)[n] for n in (0, 1))
    assert (first.prompt, first.share_a, first.columns) == ("a cat", 1.0, {"trace": "Image 1: 9. Image 2: 4."})
    assert (second.prompt, second.share_a, second.columns) == ("two [red] dogs", 0.0, {"trace": "Both lack a dog."})
    assert (first.pair_id, second.pair_id, second.prompt_id) == ("cot-0", "cot-1", "two [red] dogs")
    assert first.image_a.getpixel((0, 0)) == RED
    assert first.image_b.getpixel((0, 0)) == BLUE
    assert ImageGenCoT(path).prompt(1) == "two [red] dogs"


def test_images_as_bytes_and_in_a_folder_of_their_own(folder):
    embedded = [{"bytes": png(RED), "path": None}, {"bytes": png(BLUE), "path": None}]
    path = folder / "cot.parquet"
    pq.write_table(pa.Table.from_pylist([conversation(images=embedded)]), path)
    assert ImageGenCoT(path)[0].image_b.getpixel((0, 0)) == BLUE
    plain = write(folder / "cot.jsonl", [conversation(images=["red.png", "blue.png"])])
    assert ImageGenCoT(plain, image_folder="pictures")[0].image_b.getpixel((0, 0)) == BLUE


def test_other_words_are_read_with_other_patterns(folder):
    said = turns(("user", "Which is better for <p>a cat</p>?"), ("assistant", "<think>Hm.</think><answer>B2</answer>"))
    path = write(folder / "cot.jsonl", [conversation(conversations=said)])
    pair = ImageGenCoT(path, prompt_pattern="<p>(?P<prompt>.+?)</p>", answer_pattern="B(?P<image>.)")[0]
    assert (pair.prompt, pair.preferred, pair.columns["trace"]) == ("a cat", "b", "Hm.")


def test_a_question_whose_words_mention_a_caption_before_it_comes(folder):
    said = turns(
        ("human", "Text Caption: is given below.\nText Caption: [a cat]"),
        ("gpt", conversation()["conversations"][1]["value"]),
    )
    path = write(folder / "cot.jsonl", [conversation(conversations=said)])
    assert ImageGenCoT(path, prompt_pattern=r"Text Caption: \[?(?P<prompt>[^\n]+?)\]?(?:\n|\Z)")[0].prompt == "a cat"


BAD = {
    "no thoughts": (conversation(think=" "), r"expected <think>thoughts</think><answer>"),
    "no tags": (
        conversation(conversations=turns(("human", QUESTION.format("x")), ("gpt", "Image 1 is better"))),
        r"expected <think>thoughts</think><answer>…</answer>, got 'Image 1 is better'",
    ),
    "a tag within": (conversation(think="a <answer>0</answer> b"), r"expected <think>thoughts</think><answer>"),
    "a tie": (conversation(answer="Both are good"), r"answer_pattern does not match the answer 'Both are good'"),
    "a hedge": (conversation(answer="Image 1 is better, or Image 2"), r"answer_pattern does not match"),
    "no prompt": (
        conversation(conversations=turns(("human", "Which?"), ("gpt", "<think>x</think>"))),
        r"prompt_pattern finds no prompt in 'Which\?'",
    ),
    "rounds": (conversation(conversations=turns(*[("human", "x")] * 2, ("gpt", "y"))), r"expected one turn from human"),
    "one image": (conversation(images=["pictures/red.png"]), r"expected two images, got"),
    "no image": (conversation(images=["pictures/red.png", ""]), r"expected the path or the bytes of an image, got ''"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_row_that_cannot_be_read_is_told_or_counted_and_left_out(folder, name, caplog):
    row, reason = BAD[name]
    path = write(folder / "cot.jsonl", [conversation(), row, conversation("a dog")])
    with pytest.raises(ValueError, match=rf"cot\.jsonl.*row 1.*: {reason}"):
        ImageGenCoT(path)
    with caplog.at_level(logging.WARNING):
        left = ImageGenCoT(path, on_bad_row="skip")
    assert [left.prompt(n) for n in range(len(left))] == ["a cat", "a dog"]
    assert left[1].pair_id == "cot-2"
    assert (left.counts.rows, left.counts.skipped_rows) == (3, 1)
    assert "1 of 3 rows are skipped" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt_pattern": "(.*)"}, r"prompt_pattern: expected a group \(\?P<prompt>…\) in '\(\.\*\)'"),
        ({"answer_pattern": "("}, r"answer_pattern: '\(' is no regular expression"),
    ],
)
def test_patterns_that_find_nothing_are_refused(folder, options, message):
    path = write(folder / "cot.jsonl", [conversation()])
    with pytest.raises(ValueError, match=message):
        ImageGenCoT(path, **options)


def test_a_file_of_another_layout_is_refused(folder):
    with pytest.raises(ValueError, match=r"there is no column 'conversations'; the columns are"):
        ImageGenCoT(write(folder / "cot.jsonl", [{"prompt": "x", "images": []}]))


# ---- tables ----------------------------------------------------------------------------------------------------------


def traced(preferred="a", trace="Good eyes.", **change) -> dict:
    images = {"image_a": "pictures/red.png", "image_b": "pictures/blue.png"}
    return {"prompt": "a cat", **images, "preferred": preferred, "trace": trace} | change


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_table_with_thoughts(folder, suffix):
    full = "<think> The second is sharp. </think>\n<answer>1</answer>"
    source = TraceTable(write(folder / f"own{suffix}", [traced(), traced("1", full), traced("tie")]), drop_ties=False)
    found = [(pair.preferred, pair.columns["trace"]) for pair in (source[n] for n in range(len(source)))]
    assert found == [("a", "Good eyes."), ("b", "The second is sharp."), (None, "Good eyes.")]


def test_columns_of_other_names(folder):
    row = {"text": "a dog", "one": "pictures/red.png", "two": "pictures/blue.png", "best": "b", "why": "Paws."}
    path = write(folder / "own.jsonl", [row])
    pair = TraceTable(path, prompt="text", image_a="one", image_b="two", preferred="best", trace="why")[0]
    assert (pair.prompt, pair.preferred, pair.columns) == ("a dog", "b", {"trace": "Paws."})
    with pytest.raises(ValueError, match=r"there is no column 'trace'; .* Name yours as options: prompt, image_a"):
        TraceTable(path, prompt="text", image_a="one", image_b="two", preferred="best")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (traced(trace="  "), "row 0, column 'trace': expected thoughts, got none"),
        (traced(trace="<think>x"), "row 0, column 'trace': expected <think>thoughts</think>"),
        (traced("c"), "row 0, column 'preferred': expected a, b or tie, or the index 0 or 1, got 'c'"),
        (traced(prompt=" "), "row 0, column 'prompt': expected a prompt, got ' '"),
        (traced(image_b=""), "row 0, column 'image_b': expected the path or the bytes of an image, got ''"),
    ],
)
def test_a_bad_row_of_a_table(folder, row, message):
    with pytest.raises(ValueError, match=message):
        TraceTable(write(folder / "own.jsonl", [row]))


# ---- demonstrations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["a", "b"])
@pytest.mark.parametrize(("preferred", "answer"), [("a", 0), ("b", 1)])
def test_a_trace_is_shown_in_the_order_in_which_it_was_written(folder, first, preferred, answer):
    pair = TraceTable(write(folder / "own.jsonl", [traced(preferred, "The first image has eyes.")]))[0]
    demonstration = GivenTraces()(ShownPair(pair, first, 3, epoch=5))
    assert demonstration.shown.images == (pair.image_a, pair.image_b)
    assert (demonstration.shown.index, demonstration.shown.epoch) == (3, 5)
    written = PairwisePreference().write(demonstration)
    assert written == f"<think>The first image has eyes.</think><answer>{answer}</answer>"


def test_pairs_without_the_column_are_refused(make_pair):
    with pytest.raises(ValueError, match=r"pair p0: expected thoughts in the column 'trace', got None; its columns"):
        GivenTraces()(ShownPair(make_pair(), "a", 0))
    with pytest.raises(ValueError, match=r"pair p0: expected thoughts in the column 'why', got 3; .* are \['why'\]"):
        GivenTraces("why")(ShownPair(make_pair(columns={"why": 3}), "a", 0))


def test_a_tie_has_no_answer_to_demonstrate(make_pair):
    with pytest.raises(ValueError, match=r"pair p0 is a tie: .*drop ties"):
        GivenTraces()(ShownPair(make_pair(0.5, columns={"trace": "x"}), "a", 0))


def test_there_are_traces_of_all_pairs(folder):
    assert GivenTraces().places(TraceTable(write(folder / "own.jsonl", [traced()]))) is None
