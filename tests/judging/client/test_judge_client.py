"""The client before a real server with the bundled judge: its answers equal those of the judge in this process."""

import json
import pickle
import subprocess
import sys
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lit_listener import Judge, __version__
from lit_listener.data.shapes import ShapesPairs
from lit_listener.judging.client import Health, JudgeClient
from lit_listener.judging.client.judge_client import _png
from lit_listener.judging.pictures import Picture
from lit_listener.judging.server.app import create_app
from lit_listener.judging.server.limits import Limits
from tests.judging.server.served import differences, serving


def address(port):
    return f"http://127.0.0.1:{port}"


def assert_same(given, expected):
    """Results, or numbers of them: texts and choices exactly, probabilities up to a batch's rounding."""
    as_told = [[each if isinstance(each, float) else each.to_dict() for each in some] for some in (given, expected)]
    assert differences(*as_told, within=1e-5) == []


@pytest.fixture(scope="module")
def judge():
    return Judge.load("shapes")


@pytest.fixture(scope="module")
def url(judge):
    with serving(create_app(judge)) as port:
        yield address(port)


@pytest.fixture
def client(url):
    return JudgeClient(url)


@pytest.fixture(scope="module")
def pairs():
    return ShapesPairs(["flat", "paper"], 8, "test")


@pytest.fixture(scope="module")
def prompt(pairs):
    return pairs[0].prompt


@pytest.fixture(scope="module")
def images(pairs):
    return [pairs[0].image_a, pairs[0].image_b, pairs[1].image_a, pairs[2].image_b]


@pytest.fixture(scope="module")
def stranger(pairs):
    return pairs[5].image_b


@pytest.mark.parametrize(
    "options",
    [{}, {"rollouts": 2, "seed": -3}, {"both_orders": False}, {"listen": True}],
    ids=str,
)
def test_compare_gives_what_the_judge_gives(client, judge, prompt, images, options):
    assert client.compare(prompt, *images[:2], **options) == judge.compare(prompt, *images[:2], **options)


def test_any_form_of_an_image_arrives_pixel_by_pixel(client, judge, prompt, images, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    images[0].resize((140, 90)).save(tmp_path / "turned.jpg", exif=exif)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    profiled = images[0].copy()
    profiled.info = {"icc_profile": profile, "transparency": (255, 255, 255), "gamma": 0.1}
    palette = images[0].quantize(8)
    palette.info["transparency"] = 3
    deep = Image.fromarray(np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16))
    tags = ImageFileDirectory_v2()
    tags[274] = 3
    images[0].save(tmp_path / "headlong.tiff", tiffinfo=tags)
    forms = [
        str(tmp_path / "turned.jpg"),
        tmp_path / "headlong.tiff",
        profiled,
        palette,
        deep,
        np.asarray(images[0]),
        torch.from_numpy(np.array(images[0])).permute(2, 0, 1) / 255,
    ]
    asked = [(prompt, form, images[1]) for form in forms]
    assert_same(client.compare_many(asked, progress=False), judge.compare_many(asked, progress=False))


def test_pixels_travel_and_nothing_else(images):
    given = images[0].copy()
    given.info = {"icc_profile": b"a profile", "comment": "taken at home"}
    sent = Image.open(BytesIO(b64decode(_png(Picture(given)))))
    assert sent.tobytes() == images[0].tobytes()
    assert sent.info == {}


@pytest.mark.parametrize(
    ("anchor", "choice"),
    [
        (lambda images, stranger: None, "seed"),
        (lambda images, stranger: 2, "place"),
        (lambda images, stranger: stranger, "image"),
        (lambda images, stranger: images[1].copy(), "image"),
        (lambda images, stranger: lambda prompt: stranger, "callable"),
        (lambda images, stranger: lambda prompt: images[3], "callable"),
    ],
    ids=["seed", "place", "image", "image-among-them", "callable", "callable-among-them"],
)
def test_rank_gives_what_the_judge_gives(client, judge, prompt, images, stranger, anchor, choice):
    given = anchor(images, stranger)
    ranking = client.rank(prompt, iter(images), anchor=given, seed=4)
    assert ranking == judge.rank(prompt, images, anchor=given, seed=4)
    assert ranking.anchor_choice == choice


def test_what_is_made_of_rankings_equals_too(client, judge, prompt, images, stranger):
    options = {"rollouts": 2, "seed": 1}
    assert client.score(prompt, images, **options) == judge.score(prompt, images, **options)
    assert client.score(prompt, images[:1], stranger) == judge.score(prompt, images[:1], stranger)
    assert client.inference_rank(prompt, images) == judge.inference_rank(prompt, images)
    best = client.best_of(prompt, images, keep=2, listen=True)
    assert [id(image) for image in best] == [id(image) for image in judge.best_of(prompt, images, keep=2)]


def test_many_give_what_one_by_one_gives(client, judge, pairs, capsys):
    asked = [(pair.prompt, pair.image_a, pair.image_b) for pair in pairs]
    assert_same(client.compare_many(asked, seed=2, progress=False), judge.compare_many(asked, seed=2, progress=False))
    lists = [(prompt, [a, b]) for prompt, a, b in asked]
    assert_same(client.rank_many(iter(lists), anchor=1), [judge.rank(*each, anchor=1) for each in lists])
    assert client.rank_many([]) == client.compare_many([]) == []
    assert capsys.readouterr().out == ""


def test_threads_share_a_client(client, judge, pairs):
    asked = [(pair.prompt, pair.image_a, pair.image_b, seed) for seed, pair in enumerate([*pairs, *pairs])]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda each: client.compare(*each[:3], seed=each[3]), asked))
    assert_same(answers, [judge.compare(prompt, a, b, seed=seed) for prompt, a, b, seed in asked])


def test_a_full_queue_costs_time_and_no_answer(judge, pairs):
    with serving(create_app(judge, limits=Limits(max_queue=1))) as port:
        impatient = JudgeClient(address(port), retries=0)
        with pytest.raises(ConnectionError, match=r"takes no request \(429\)"):
            impatient.compare_many([_asked(pair) for pair in pairs] * 4, progress=False, rollouts=2)
        asked = [_asked(pair) for pair in pairs][:4]
        client = JudgeClient(address(port), retries=30, concurrency=4)
        assert_same(client.compare_many(asked, progress=False), judge.compare_many(asked, progress=False))


def _asked(pair):
    return (pair.prompt, pair.image_a, pair.image_b)


def test_health(client, judge):
    assert client.health() == Health("ok", "shapes", __version__, judge.can_listen, 0)


def test_a_client_can_be_sent_to_another_process(client, judge, prompt, images):
    sent = pickle.loads(pickle.dumps(client))
    assert sent.compare(prompt, *images[:2]) == judge.compare(prompt, *images[:2])


# ---- rewards -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["torch", "numpy", "pil"])
def test_rewards_come_as_flow_grpo_asks_for_them(client, judge, pairs, form):
    chosen = [pairs[0].image_a, pairs[1].image_a, pairs[0].image_b, pairs[1].image_b]
    prompts = [pairs[0].prompt, pairs[1].prompt] * 2
    stacked = np.stack([np.asarray(image) for image in chosen])
    batch = {"torch": torch.from_numpy(stacked).permute(0, 3, 1, 2) / 255, "numpy": stacked, "pil": chosen}[form]
    scores, rest = client.reward_fn(seed=3)(batch, prompts, [{}] * 4)
    assert rest == {}
    assert all(type(score) is float for score in scores)
    assert_same(scores, judge.reward_fn(seed=3)(chosen, prompts, None)[0])
    assert scores[0] != scores[2]


def test_rewards_that_cannot_be_given_are_refused(client, pairs, images):
    reward = client.reward_fn()
    with pytest.raises(ValueError, match="one prompt for each image, got 1 prompts for 4 images"):
        reward(images, [pairs[0].prompt])
    with pytest.raises(ValueError, match=r"have one image in this batch.*reward_fn\(anchor="):
        reward(images[:1], [pairs[0].prompt])
    with pytest.raises(TypeError, match="anchor: expected an image or a callable"):
        client.reward_fn(anchor=0)


REWARDS = """
import json, sys
import numpy as np, torch
from PIL import Image
from lit_listener.judging.client import JudgeClient
url, anchor, *rest = sys.argv[1:]
prompts, files = rest[::2], rest[1::2]
batch = torch.from_numpy(np.stack([np.asarray(Image.open(file)) for file in files])).permute(0, 3, 1, 2) / 255
print(json.dumps(JudgeClient(url).reward_fn(anchor=lambda prompt: anchor)(batch, prompts, None)[0]))
"""


def test_processes_that_share_an_anchor_agree(url, judge, pairs, stranger, tmp_path):
    stranger.save(tmp_path / "anchor.png")
    files = []
    for place in range(3):
        pairs[0].image_a.rotate(90 * place).save(tmp_path / f"{place}.png")
        files.append(str(tmp_path / f"{place}.png"))
    prompt = pairs[0].prompt
    running = [
        subprocess.Popen(
            [sys.executable, "-c", REWARDS, url, str(tmp_path / "anchor.png"), *(x for f in its for x in (prompt, f))],
            stdout=subprocess.PIPE,
            text=True,
        )
        for its in (files[:2], files[1:])
    ]
    one, other = [json.loads(process.communicate(timeout=120)[0]) for process in running]
    assert_same(one[1:], other[:1])
    assert_same([*one, other[1]], judge.score(prompt, files, stranger))


# ---- what goes wrong ---------------------------------------------------------------------------------------------


def test_bad_questions_are_refused_before_they_are_sent(prompt, images, tmp_path):
    nowhere = JudgeClient("http://127.0.0.1:9", retries=0)  # an attempt would raise ConnectionError
    with pytest.raises(FileNotFoundError, match="there is no image"):
        nowhere.compare(prompt, tmp_path / "none.png", images[0])
    with pytest.raises(ValueError, match=r"must have the shape \[height, width, 3\]"):
        nowhere.compare(prompt, np.zeros((4, 4), np.uint8), images[0])
    with pytest.raises(TypeError, match=r"expected a list of images, got one str: give \[image\]"):
        nowhere.rank(prompt, "picture.png")
    with pytest.raises(IndexError, match="there is no image 4 among 4"):
        nowhere.rank(prompt, images, anchor=4)
    with pytest.raises(ValueError, match="keep: expected from 1 to 4"):
        nowhere.best_of(prompt, images, keep=5)
    with pytest.raises(TypeError, match="rollout"):
        nowhere.score(prompt, images, rollout=2)
    with pytest.raises(ValueError, match="concurrency: expected at least 1, got 0"):
        JudgeClient(concurrency=0)
    with pytest.raises(ConnectionError, match="cannot reach the judge at http://127"):
        nowhere.rank(prompt, images)


def test_what_the_server_refuses_is_told_in_its_words(client, prompt, images):
    with pytest.raises(ValueError, match="rollouts: expected at most 16, got 17"):
        client.compare(prompt, *images[:2], rollouts=17)
    with pytest.raises(ValueError, match="one image alone has nothing to be compared with"):
        client.rank(prompt, images[:1])
    with pytest.raises(ValueError, match="prompt"):
        client.compare("  ", *images[:2])


def test_of_many_the_one_that_fails_is_named(client, prompt, images, tmp_path):
    good = (prompt, *images[:2])
    with pytest.raises(ValueError, match=r"^number 2: prompt"):
        client.compare_many([good, good, (" ", *images[:2]), good], progress=False)
    with pytest.raises(FileNotFoundError, match=r"^number 1: there is no image"):
        client.compare_many([good, (prompt, tmp_path / "none.png", images[1]), good], progress=False)


def test_the_token_is_asked_for(judge, prompt, images):
    with serving(create_app(judge, token="sesame")) as port:
        url = address(port)
        expected = judge.compare(prompt, *images[:2])
        assert JudgeClient(url, token="sesame").compare(prompt, *images[:2]) == expected
        for token in (None, "other"):
            with pytest.raises(PermissionError, match="token="):
                JudgeClient(url, token=token).compare(prompt, *images[:2])
        assert JudgeClient(url).health().status == "ok"


def test_importing_the_client_loads_no_model_library():
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, lit_listener.judging.client; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert "requests" in loaded
    assert not {"transformers", "peft", "lightning", "fastapi", "datasets"} & set(loaded)
