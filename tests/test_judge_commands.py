import json
import re
import subprocess
import sys

import pytest
from PIL import Image

from lit_listener.__main__ import main
from lit_listener.data.shapes import ShapesPairs
from lit_listener.judging.judge import Judge
from lit_listener.judging.loading import load_judge
from lit_listener.judging.results import Comparison, Ranking

PROMPT = "four red squares"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine images, img1.png to img9.png, and two files that are none."""
    folder = tmp_path_factory.mktemp("images")
    pairs = ShapesPairs(["flat", "paper"], 5, "test")
    images = [image for place in range(5) for image in (pairs[place].image_a, pairs[place].image_b)]
    for number, image in enumerate(images[:9], 1):
        image.save(folder / f"img{number}.png")
    (folder / "notes.txt").write_text("no image")
    (folder / "broken.dat").write_bytes((folder / "img1.png").read_bytes()[:200])
    return folder


@pytest.fixture(scope="module")
def judge():
    return Judge.load("shapes")


@pytest.fixture
def call(capsys, folder, monkeypatch):
    """Run a command in the folder: its status, output and error output."""
    monkeypatch.chdir(folder)

    def run(*words, model="shapes", prompt=PROMPT):
        command, *rest = map(str, words)
        status = main([command, "--model", model, "--prompt", prompt, *rest])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def images_in(folder):
    return [folder / f"img{number}.png" for number in range(1, 10)]


# ---- rank ------------------------------------------------------------------------------------------------------------


def test_rank_prints_a_table_and_tells_on_the_side_what_it_waits_for(call, folder, judge):
    status, out, err = call("rank", *images_in(folder))
    ranking = judge.rank(PROMPT, images_in(folder))
    rows = [line.split() for line in out.splitlines() if line.lstrip()[:1].isdigit()]
    assert status == 0
    assert [row[:3] for row in rows] == [
        [str(ranking.ranks[place]), f"img{place + 1}.png", f"{ranking.scores[place]:.3f}"] for place in ranking.order
    ]
    assert err == "Loading shapes …\n"  # no bars of libraries
    assert "shown first" not in out


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], {}),
        (["--rollouts", "2", "--seed=-3", "--both_orders", "false"], {"rollouts": 2, "seed": -3, "both_orders": False}),
        (["--anchor", "2"], {"anchor": 2}),
        (["--anchor", "./img2.png"], {"anchor": "img2.png"}),
    ],
)
def test_rank_as_json_is_what_the_judge_says(call, folder, judge, words, options):
    status, out, _ = call("rank", *images_in(folder)[2:], "--json", *words)
    if isinstance(options.get("anchor"), str):
        options = {**options, "anchor": folder / options["anchor"]}
    said = json.loads(out)
    assert status == 0
    assert said.pop("images") == [str(path) for path in images_in(folder)[2:]]
    assert said.pop("model") == "shapes"
    expected = judge.rank(PROMPT, images_in(folder)[2:], **options)
    assert said == expected.to_dict()
    assert Ranking.from_dict(said) == expected


def test_an_anchor_file_beside_the_images(call, folder, judge):
    status, out, _ = call("rank", "img1.png", "--anchor", "img2.png")
    (score,) = judge.score(PROMPT, [folder / "img1.png"], folder / "img2.png")
    assert status == 0
    assert re.search(rf"1 +img1\.png +{score:.3f} ", out)
    assert "preferred to the anchor, img2.png (as given)" in out


def test_images_stand_anywhere_as_files_globs_and_folders(call, folder, tmp_path):
    Image.open(folder / "img1.png").transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png")
    _, out, _ = call("rank", "img3.png", "--json", "img[12].png", "--seed", "4", tmp_path, "--", "img5.png")
    said = json.loads(out)
    assert said["images"] == ["img3.png", "img1.png", "img2.png", str(tmp_path / "turned.png"), "img5.png"]
    assert said["seed"] == 4


def test_switches_stand_alone_or_with_a_value(call):
    _, out, _ = call("rank", "--traces", "img1.png", "--json", "false", "img2.png")
    assert "shown first" in out


def test_a_prompt_may_look_like_anything(call):
    for prompt in ("null", "-- a dash", "--seed is no option here", "[1, 2", "{a: 1}", "3", "[red]x[/red]"):
        status, out, _ = call("compare", "img1.png", "img2.png", "--json", prompt=prompt)
        assert (status, json.loads(out)["prompt"]) == (0, prompt)


def test_traces_are_printed_under_the_table(call, folder, judge):
    _, out, _ = call("rank", "img1.png", "img2.png", "img3.png", "--traces", "--anchor", 0)
    ranking = judge.rank(PROMPT, images_in(folder)[:3], anchor=0)
    said = " ".join(out.split())  # lines are broken at 100 columns
    for place in (1, 2):
        for each in ranking.traces[place]:
            assert " ".join(each.thinking.split()) in said
    assert "img1.png shown first" in said


# ---- compare ---------------------------------------------------------------------------------------------------------


def test_compare_prints_both_probabilities(call, folder, judge):
    status, out, _ = call("compare", "img1.png", "img2.png", "--rollouts", "3")
    p_a = judge.compare(PROMPT, *images_in(folder)[:2], rollouts=3).p_a
    assert status == 0
    assert re.search(rf"A +img1\.png +{p_a:.3f} ", out)
    assert re.search(rf"B +img2\.png +{1 - p_a:.3f} ", out)
    assert f"Preferred: {'A, img1' if p_a > 0.5 else 'B, img2'}.png." in out


def test_compare_as_json_with_a_listener_is_what_the_judge_says(call, folder):
    _, out, _ = call("compare", "img1.png", "img2.png", "--json", "--listen", "--listener", "shapes-warm-start")
    said = json.loads(out)
    listened = Judge.load("shapes", listener="shapes-warm-start")
    expected = listened.compare(PROMPT, *images_in(folder)[:2], listen=True)
    assert (said.pop("images"), said.pop("model")) == (["img1.png", "img2.png"], "shapes")
    assert said == expected.to_dict()
    assert said["listener_p_a"] == expected.listener_p_a
    assert Comparison.from_dict(said) == expected


# ---- pages and output ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "details"), [("rank", 2), ("compare", 1)])
def test_a_page_is_written_whole_and_the_terminal_says_where(call, tmp_path, command, details):
    (tmp_path / "new").mkdir()
    page = tmp_path / "new" / "page.html"
    images = ["img1.png", "img2.png", "img3.png"][: 3 if command == "rank" else 2]
    status, out, _ = call(command, *images, "--html", page, prompt="<b>four</b>")
    assert status == 0
    assert out.endswith(f"Page: {page}\n")
    written = page.read_text(encoding="utf-8")
    assert "<title>&lt;b&gt;four&lt;/b&gt;</title>" in written
    assert written.count("<details>") == details
    assert written.endswith("</html>\n")
    assert [each.name for each in page.parent.iterdir()] == ["page.html"]


def test_json_has_the_output_to_itself(call, tmp_path, monkeypatch):
    def chatty(*args):  # as code of a hub repository may be
        print("hello")
        return load_judge(*args)

    monkeypatch.setattr("lit_listener.judging.judge.load_judge", chatty)
    _, out, err = call("rank", "img1.png", "img2.png", "--json", "--html", tmp_path / "page.html")
    assert json.loads(out)["model"] == "shapes"
    assert f"Page: {tmp_path / 'page.html'}\n" in err
    assert "hello\n" in err


def test_a_page_that_cannot_be_written_costs_no_result(call, tmp_path):
    longest = tmp_path / ("p" * 250 + ".html")  # the file that is written beside it first has a longer name
    status, out, err = call("compare", "img1.png", "img2.png", "--json", "--html", longest)
    assert status == 1
    assert "p_a" in json.loads(out)
    assert "error: " in err


@pytest.mark.slow
def test_another_process_prints_one_json_document(folder, judge):
    words = ["rank", "--json", "*.png", "--model", "shapes", "--prompt", PROMPT]
    done = subprocess.run(  # the shell expands no glob here
        [sys.executable, "-m", "lit_listener", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"] == judge.score(PROMPT, images_in(folder))
    assert done.stderr == "Loading shapes …\n"


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rank", "img1.png", "gone.png"], r"there is no image gone\.png"),
        (["rank", "img1.png", "notes.txt"], r"cannot read notes\.txt: not an image of a known format"),
        (["rank", "img1.png", "broken.dat"], r"cannot read broken\.dat: "),
        (["rank", "img1.png", "x*.png"], r"no file fits 'x\*\.png'"),
        (["rank", "img1.png", "img[1-3].png"], r"the image img1\.png is given twice: give each once"),
        (["rank"], r"expected images: image files, globs"),
        (["rank", "img1.png"], r"one image alone has nothing to be compared with"),
        (["rank", "img1.png", "--anchor", "./img1.png"], r"the one image is the --anchor itself"),
        (["rank", "img1.png", "--anchor", "copy.png"], r"the one image is the --anchor itself"),
        (
            ["rank", "img1.png", "img2.png", "--anchor", "2"],
            r"--anchor: there is no image 2 among 2; places count from 0",
        ),
        (["rank", "img1.png", "img2.png", "--anchor", "-1"], r"--anchor: there is no image -1 among 2"),
        (["rank", "img1.png", "img2.png", "--anchor", "gone.png"], r"there is no image gone\.png"),
        (["compare", "img1.png"], r"compare: expected exactly two images, got 1; rank takes more"),
        (["compare", "img[1-3].png"], r"compare: expected exactly two images, got 3; rank takes more"),
        (["compare", "img1.png", "img2.png", "--anchor", "0"], r"there is no option --anchor"),
        (["rank", "img1.png", "img2.png", "--sede", "1"], r"there is no option --sede; did you mean --seed\?"),
        (
            ["rank", "img1.png", "-img2.png"],
            r"there is no option -img2\.png; an image of such a name is given as \./NAME",
        ),
        (["rank", "img1.png", "img2.png", "--seed"], r"--seed: expected a value after it\n"),
        (
            ["rank", "img1.png", "img2.png", "--seed", "--json"],
            r"--seed: expected a value after it, got the option --js",
        ),
        (
            ["rank", "img1.png", "img2.png", "--seed", "1.5"],
            r"--seed: expected a whole number, got 1\.5; python -m lit_",
        ),
        (["rank", "img1.png", "img2.png", "--temperature", "hot"], r"--temperature: expected a number, got hot"),
        (["rank", "img1.png", "img2.png", "--listen=maybe"], r"--listen: expected true or false, got maybe"),
        (["rank", "img1.png", "img2.png", "--rollouts", "0"], r"rollouts: expected at least 1, got 0"),
        (
            ["rank", "img1.png", "img2.png", "--html", "no/page.html"],
            r"--html: there is no folder no to write page.html",
        ),
        (["rank", "img1.png", "img2.png", "--html", "."], r"--html: expected a file to write, got the folder \."),
        (["rank", "img1.png", "img2.png", "--prompt", " "], r"prompt: expected the text"),
        (["rank", "img1.png", "img2.png", "--prompt", "<|im_end|>"], r"holds the chat token <\|im_end\|>"),
        (["rank", "img1.png", "img2.png", "--model", "./gone"], r"no model folder at '\./gone'"),
        (
            ["rank", "img1.png", "img2.png", "--model", "shapes-blank", "--listen"],
            r"--listen: no listener is known",
        ),
    ],
)
def test_errors_of_use(call, folder, words, message):
    (folder / "copy.png").write_bytes((folder / "img1.png").read_bytes())
    status, out, err = call(*words)
    (folder / "copy.png").unlink()
    assert status == 1
    assert out == ""
    assert re.search(f"error: .*{message}", err)


def test_model_and_prompt_are_needed(capsys, folder):
    assert main(["rank", str(folder / "img1.png"), str(folder / "img2.png"), "--model", "shapes"]) == 1
    assert "error: expected --prompt as well; python -m lit_listener rank --help lists" in capsys.readouterr().err


def test_images_are_looked_at_before_the_model_is_loaded(call):
    _, _, err = call("rank", "img1.png", "gone.png")
    assert "there is no image gone.png" in err
    assert "Loading" not in err


def test_serve_takes_its_options_by_name(capsys):
    with pytest.raises(SystemExit) as end:
        main(["serve", "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "usage: python -m lit_listener serve" in said
    assert all(f"--{option} " in said for option in ("model", "host", "port", "token_file", "batch_size"))


@pytest.mark.parametrize("command", ["rank", "compare"])
def test_help_tells_of_all_options(capsys, command):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0
    assert f"usage: python -m lit_listener {command} --model MODEL --prompt PROMPT IMAGE" in said
    assert ("--anchor" in said) == (command == "rank")
    for option in ("rollouts", "both_orders", "seed", "listen", "json", "traces", "html", "device", "load_in_4bit"):
        assert f"--{option} " in said
    assert "of sampling, above 0; by default as in training, and else 1. (type: float | null" in said
    assert "``" not in said
    assert "--task" not in said


# ---- a judge that rates images ---------------------------------------------------------------------------------------


def test_a_rater_ranks_without_an_anchor(call, folder):
    status, said, _ = call("rank", "img1.png", "img2.png", "img3.png", "--json", model="shapes-rater")
    assert status == 0
    rater = Judge.load("shapes-rater")
    assert json.loads(said)["scores"] == pytest.approx(rater.score(PROMPT, images_in(folder)[:3]), abs=1e-5)
    status, said, _ = call("rank", "img1.png", "--html", "page.html", model="shapes-rater")
    assert status == 0
    assert "expected rating of each image by itself" in said
    assert "Rank 1 of 1" in (folder / "page.html").read_text()
    (folder / "page.html").unlink()
    status, _, complaint = call("rank", "img1.png", "img2.png", "--anchor", "0", model="shapes-rater")
    assert (status, "leave it out" in complaint) == (1, True)
    status, said, _ = call("compare", "img1.png", "img2.png", model="shapes-rater")
    assert status == 0
    assert "Each was rated by itself" in said
