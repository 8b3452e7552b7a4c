import json

import datasets
import pytest
from PIL import Image

from lit_listener.data.sources import MMRB2
from tests.data.published import loaded, tone


def pair(n: int, chosen: str, **change) -> dict:
    return {
        "id": f"wise_{n}",
        "response_a": {"model_name": "flux", "response_content": [["image", f"images/wise_{n}_0.png"]]},
        "response_b": {"model_name": "imagen", "response_content": [["image", f"images/wise_{n}_1.png"]]},
        "chosen": chosen,
        "human_annotations": [2, 2, 1],
        "prompt_source": "wise",
        "prompt_metadata": {"id": n if n % 2 else str(n)},
        "prompt_content": [["text", f"prompt {n}"]],
    } | change


PAIRS = [pair(0, "A"), pair(1, "B"), pair(2, "B"), pair(3, "A")]


@pytest.fixture
def released(folder):
    (folder / "images").mkdir()
    for n in range(4):
        for side in (0, 1):
            Image.new("RGB", (4, 4), (20 * n + side,) * 3).save(folder / "images" / f"wise_{n}_{side}.png")
    (folder / "t2i.json").write_text(json.dumps({"pairs": PAIRS}))
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_pairs(released, workers):
    expected = [(f"wise_{n}", f"prompt {n}", share, 0, 20 * n, 20 * n + 1) for n, share in enumerate([1.0, 0, 0, 1.0])]
    for path in (released, released / "t2i.json"):
        found = loaded(MMRB2(path), workers)
        shown = [(p.pair_id, p.prompt, p.share_a, p.votes, tone(p.image_a), tone(p.image_b)) for p in found]
        assert shown == expected
        assert {(p.generator_a, p.generator_b) for p in found} == {("flux", "imagen")}


def test_the_names_of_the_documentation(released):
    rows = [{**row, "pair_id": row["id"]} for row in PAIRS]
    for row in rows:
        del row["id"]
        for side in ("response_a", "response_b"):
            content = [["text", "Here it is."], *row[side]["response_content"]]
            row[side] = {"model": row[side]["model_name"], "response_content": content}
    (released / "t2i.json").write_text(json.dumps({"pairs": rows}))
    found = [(p.pair_id, p.generator_a, tone(p.image_b)) for p in MMRB2(released)]
    assert found == [(f"wise_{n}", "flux", 20 * n + 1) for n in range(4)]


def test_contents_of_objects_and_a_loaded_data_set(released, monkeypatch):
    monkeypatch.chdir(released)
    rows = [
        {
            **{key: row[key] for key in ("id", "chosen")},
            "prompt_content": [{"type": "text", "text": row["prompt_content"][0][1]}],
            "response_a": {"response_content": [{"type": "image", "image": f"images/wise_{n}_0.png"}]},
            "response_b": {"response_content": [{"type": "image", "image": f"images/wise_{n}_1.png"}]},
        }
        for n, row in enumerate(PAIRS)
    ]
    found = [(p.prompt, tone(p.image_a), p.generator_a) for p in MMRB2(datasets.Dataset.from_list(rows))]
    assert found == [(f"prompt {n}", 20 * n, "") for n in range(4)]


def test_columns_that_are_not_there(released):
    rows = [{key: value for key, value in row.items() if key != "prompt_content"} for row in PAIRS]
    (released / "t2i.json").write_text(json.dumps({"pairs": rows}))
    with pytest.raises(
        ValueError, match=r"t2i\.json: there is no column 'prompt_content'.*t2i_response_only\.json still"
    ):
        MMRB2(released)
    with pytest.raises(ValueError, match="split: MMRB2 is for evaluation only and has the split test, got 'train'"):
        MMRB2(released, split="train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": "C"}, "column 'chosen': expected A or B, got 'C'"),
        ({"chosen": None}, "column 'chosen': expected A or B, got None"),
        ({"chosen": 1}, "column 'chosen': expected text, as in the column's other rows, got 1"),
        ({"id": "wise_0"}, "column 'id': the name 'wise_0' was given to row 0 already"),
        ({"prompt_content": []}, r"column 'prompt_content': expected a prompt of text alone, got \[\]"),
        (
            {"prompt_content": [["text", "x"], ["image", "y.png"]]},
            "column 'prompt_content': expected a prompt of text alone, got ",
        ),
        (
            {"response_b": {"model_name": "m", "response_content": [["text", "no"]]}},
            r"column 'response_b': expected a response with one image, got \[\['text', 'no'\]\]",
        ),
        ({"response_a": None}, "column 'response_a': expected a response with one image, got None"),
        (
            {"response_a": {"model_name": "m", "response_content": [["image", "a"], ["image", "b"]]}},
            "column 'response_a': expected a response with one image, got ",
        ),
    ],
)
def test_bad_rows(released, change, message):
    (released / "t2i.json").write_text(json.dumps({"pairs": [*PAIRS[:2], PAIRS[2] | change, PAIRS[3]]}))
    with pytest.raises(ValueError, match=rf"t2i\.json, row 2, {message}"):
        MMRB2(released)
    pairs = MMRB2(released, on_bad_row="skip")
    assert ([p.prompt for p in pairs], pairs.counts.skipped_rows) == (["prompt 0", "prompt 1", "prompt 3"], 1)
