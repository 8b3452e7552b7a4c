import json
import re

import pytest
from PIL import Image

from lit_listener.__main__ import main
from lit_listener.data.shapes.attempts import attempts
from lit_listener.data.sources import HPDv2, PairTable
from lit_listener.data_commands import open_source, snake_case, source_classes
from tests.data.test_image_hash import picture


@pytest.fixture
def hpdv2(tmp_path, monkeypatch):
    """HPDv2's training pairs as published: four of them, in one of which an image is missing."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "hpdv2"
    (folder / "train").mkdir(parents=True)
    for number in range(6):
        picture(number, (64 + number, 48)).save(folder / "train" / f"{number}.png")
    files = [["0.png", "1.png"], ["2.png", "3.png"], ["4.png", "5.png"], ["0.png", "gone.png"]]
    rows = [{"prompt": f"a cat {n}", "file_path": names, "human_preference": [1, 0]} for n, names in enumerate(files)]
    (folder / "train.json").write_text(json.dumps(rows))
    return folder


def call(capsys, *words):
    status = main(["data", *map(str, words)])
    said = capsys.readouterr()
    return status, re.sub(" +", " ", said.out), said.err


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("HPDv2", "hpdv2"),
        ("ImageRewardDB", "image_reward_db"),
        ("PickAPic", "pick_a_pic"),
        ("MMRB2", "mmrb2"),
        ("GenAIBench", "gen_ai_bench"),
    ],
)
def test_names_of_sources(kind, name):
    assert snake_case(kind) == name


def test_sources_are_those_there_are():
    assert source_classes()["hpdv2"] is HPDv2
    assert "pair_table" not in source_classes()  # a path names it
    assert "image_reward_ratings" not in source_classes()  # no pairs


def test_a_published_source_is_looked_at(capsys, hpdv2, tmp_path):
    sheet = tmp_path / "sheet.png"
    status, out, _ = call(capsys, "hpdv2", "--path", hpdv2, "--split", "train", "--sheet", sheet)
    assert status == 0
    assert re.search(r"rows 4\n.*skipped 0\n.*they make 4\n.*ties 0\n.*left out 0\n.*used 4\n", out)
    assert "unreadable, of 4 looked at \n pairs 1 25.0%" in out
    assert re.search(r"Unreadable: .*train.json, row 3, column 'file_path': there is no image .*gone.png", out)
    assert f"Sample pairs: {sheet}" in out
    assert Image.open(sheet).width > 100


def test_options_of_the_source(capsys, hpdv2):
    status, out, _ = call(capsys, "hpdv2", "--path", hpdv2, "--fraction=0.5", "--limit", 1)
    assert status == 0
    assert "pairs used 2" in out
    assert "1 of 2 pairs, spread evenly" in out
    status, out, _ = call(capsys, f"hpdv2:path={hpdv2},on_bad_row=skip")
    assert status == 0
    assert "unreadable, left out 1" in out
    assert re.search(r"Skipped: .*gone.png", out)


def test_what_a_yaml_file_says(hpdv2, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(f"class_path: lit_listener.data.sources.HPDv2\ninit_args:\n  path: {hpdv2}\n  fraction: 0.5\n")
    assert len(open_source(str(path), drop_ties=False)) == 2
    with pytest.raises(ValueError, match="takes no options beside it; got"):
        open_source(str(path), ["--fraction=1"])
    path.write_text("data: {}\n")
    with pytest.raises(ValueError, match=r"expected a source as class_path and init_args, got the keys \['data'\]"):
        open_source(str(path))


def test_a_table_of_ones_own(hpdv2, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("prompt,image_a,image_b,winner\na,hpdv2/train/0.png,hpdv2/train/1.png,tie\n")
    for option in ("--preferred=winner", "--columns.preferred=winner"):
        pairs = open_source(str(table), [option], drop_ties=False)
        assert isinstance(pairs, PairTable)
        assert len(pairs) == 1
    with pytest.raises(ValueError, match="all 1 rows are ties"):
        open_source(str(table), ["--preferred=winner"])


def test_a_table_with_options_behind_a_colon(tmp_path):
    for name in ("left", "right"):
        picture(1, (32, 32)).save(tmp_path / f"{name}.png")
    table = tmp_path / "pairs.csv"
    table.write_text("prompt,image_a,image_b,winner\na cat,left.png,right.png,b\na dog,left.png,right.png,tie\n")
    opened = open_source(f"{table}:preferred=winner,drop_ties=false")
    assert [pair.share_a for pair in opened] == [0.0, 0.5]


def test_mistakes(capsys, hpdv2):
    status, _, err = call(capsys, "hpdv3x")
    assert status == 1
    assert "there is no source 'hpdv3x'; expected a table's path, a YAML file, or one of ['shapes', " in err
    status, _, err = call(capsys, "hpdv2", "--path")
    assert (status, "--path: expected a value after it" in err) == (1, True)
    with pytest.raises(SystemExit):
        main(["data", "hpdv2", "--path", str(hpdv2), "--fractoin", "0.5"])
    assert "fractoin" in capsys.readouterr().err


def test_overlap_of_two_sets(capsys, hpdv2, tmp_path):
    table = tmp_path / "test.csv"
    picture(2, (32, 24)).save(tmp_path / "small.png")
    picture(30).save(tmp_path / "other.png")
    table.write_text("prompt,image_a,image_b,share_a\nA cat: 0,small.png,other.png,1\n")
    status, out, _ = call(capsys, "overlap", f"hpdv2:path={hpdv2}", table)
    assert status == 0
    assert "pairs looked at 4 1" in out
    assert "different prompts 3 1\n shared 1 (33.3%) 1 (100.0%)" in out
    assert "different images 6 2\n shared 1 (16.7%) 1 (50.0%)" in out
    assert "Shared prompt: 'A cat: 0'" in out
    assert re.search(r"Shared image: train-1-0-1, image A = test-0, image A \(\d bits differ\)", out)
    status, out, _ = call(capsys, "overlap", f"hpdv2:path={hpdv2}", table, "--images", "false")
    assert (status, "images" in out) == (0, False)


def test_a_manifest_is_written_and_checked(capsys, hpdv2, tmp_path):
    file, source = tmp_path / "m.jsonl", ["hpdv2", "--path", hpdv2, "--on_bad_row", "skip"]
    status, out, _ = call(capsys, "manifest", *source, "--output", file)
    assert (status, len(file.read_text().splitlines())) == (0, 4)
    assert re.search(r"3 pairs, digest [0-9a-f]{64}", out)
    status, out, _ = call(capsys, "manifest", *source, "--check", file)
    assert (status, f"hpdv2 has the 3 pairs of {file}" in out) == (0, True)
    Image.new("RGB", (9, 9)).save(hpdv2 / "train" / "1.png")
    status, _, err = call(capsys, "manifest", *source, "--check", file)
    assert status == 1
    assert f"hpdv2 differs from {file}; 1 pairs have another image_b: train-0-0-1" in err
    for words in ([], ["--check", file, "--output", file]):
        status, _, err = call(capsys, "manifest", *source, *words)
        assert (status, "name one file" in err) == (1, True)


@pytest.mark.parametrize("words", [(), ("overlap",), ("manifest",)])
def test_help(capsys, words):
    with pytest.raises(SystemExit) as left:
        main(["data", *words, "--help"])
    assert left.value.code == 0
    assert " ".join(["usage: python -m lit_listener data", *words]) in capsys.readouterr().out


def test_pictures_are_drawn_for_a_prompt_and_never_over_others(tmp_path, capsys):
    folder = tmp_path / "my pictures"
    status, out, _ = call(capsys, "draw", "two red circles", folder, "--count", "3")
    assert status == 0
    assert sorted(file.name for file in folder.iterdir()) == ["1.png", "2.png", "3.png"]
    for place, each in enumerate(attempts("two red circles", 3), 1):
        assert Image.open(folder / f"{place}.png").tobytes() == each.picture.tobytes()
        assert f"{place}.png: {each.scene.caption}, {each.scene.finish}" in out
    assert f"rank --model shapes --prompt 'two red circles' '{folder}'/*.png" in out
    status, _, err = call(capsys, "draw", "two red circles", folder, "--count", "4")
    assert (status, "1.png is there already; name another folder" in err) == (1, True)
    assert len(list(folder.iterdir())) == 3
