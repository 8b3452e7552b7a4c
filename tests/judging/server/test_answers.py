"""What comes over HTTP is what the judge says offline, to the last digit."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lit_listener.judging import loading
from lit_listener.judging import weights as weights_of
from lit_listener.judging.judge import Judge
from lit_listener.judging.results import Comparison, Ranking
from lit_listener.judging.server.answers import CompareAnswer, RankAnswer, ScoreAnswer
from lit_listener.judging.server.app import create_app
from lit_listener.vlm import backbone
from tests.judging.server.served import (
    PAIRS,
    ask,
    base64_of,
    compare_body,
    differences,
    file_of,
    form_of,
    images_of,
    rank_body,
    serving,
)


def test_compare_is_the_judges(judge, port):
    answer = ask(port, "POST", "/v1/compare", compare_body(1, rollouts=2, seed=5, listen=True))
    pair = PAIRS[1]
    expected = judge.compare(pair.prompt, pair.image_a, pair.image_b, rollouts=2, seed=5, listen=True)
    assert answer.status == 200
    assert answer.json == expected.to_dict()
    assert Comparison.from_dict(answer.json) == expected
    CompareAnswer.model_validate_json(answer.content, strict=True)  # what /openapi.json says


@pytest.mark.parametrize(
    ("given", "offline"),
    [
        ({}, {}),
        ({"anchor": 2}, {"anchor": 2}),
        ({"both_orders": False, "seed": -3}, {"both_orders": False, "seed": -3}),
    ],
)
def test_rank_is_the_judges(judge, port, given, offline):
    answer = ask(port, "POST", "/v1/rank", rank_body(0, 1, 2, **given))
    expected = judge.rank(PAIRS[0].prompt, images_of(0, 1, 2), **offline)
    assert answer.json == expected.to_dict()
    assert Ranking.from_dict(answer.json) == expected
    RankAnswer.model_validate_json(answer.content, strict=True)


def test_anchor_images(judge, port):
    anchor, *images = images_of(3, 0, 1)
    strange = ask(port, "POST", "/v1/rank", rank_body(0, 1, anchor_image=base64_of(anchor)))
    assert strange.json == judge.rank(PAIRS[0].prompt, images, anchor=anchor).to_dict()
    assert (strange.json["anchor"], strange.json["anchor_choice"]) == (None, "image")
    among = ask(port, "POST", "/v1/rank", rank_body(0, 1, anchor_image=base64_of(images[1])))
    assert among.json == judge.rank(PAIRS[0].prompt, images, anchor=images[1]).to_dict()
    assert among.json["anchor"] == 1
    itself = ask(port, "POST", "/v1/rank", rank_body(0, anchor_image=base64_of(images[0])))
    assert itself.json["scores"] == [0.5]


def test_score_is_rank_without_reasons(judge, port):
    answer = ask(port, "POST", "/v1/score", rank_body(0, 1, 2, seed=4))
    expected = judge.rank(PAIRS[0].prompt, images_of(0, 1, 2), seed=4)
    how = {"rollouts": 1, "both_orders": True, "seed": 4}
    assert answer.json == {"scores": list(expected.scores), "anchor": expected.anchor, "anchor_choice": "seed", **how}
    ScoreAnswer.model_validate_json(answer.content, strict=True)


def test_without_traces(judge, port):
    told = ask(port, "POST", "/v1/rank", rank_body(0, 1, 2, traces=False)).json
    expected = judge.rank(PAIRS[0].prompt, images_of(0, 1, 2)).to_dict()
    for comparison in expected["comparisons"]:
        if comparison:
            comparison["traces"] = []
    assert told == expected
    assert ask(port, "POST", "/v1/compare", compare_body(traces=False)).json["traces"] == []


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_forms_and_formats(judge, port, kind):
    image_a, image_b = images_of(0, 1)
    options = {"lossless": True} if kind == "WEBP" else {}
    fields = [
        ("image_a", file_of(image_a, kind, **options)),
        ("prompt", "three rote Äpfel 🍎"),
        ("image_b", file_of(image_b, kind, **options)),
        ("rollouts", "2"),
        ("both_orders", "false"),
    ]
    answer = ask(port, "POST", "/v1/compare", *form_of(fields))
    expected = judge.compare("three rote Äpfel 🍎", image_a, image_b, rollouts=2, both_orders=False)
    assert answer.json == expected.to_dict()


def test_a_form_of_many_images(judge, port):
    images = images_of(0, 1, 2)
    fields = [("prompt", "p"), *[("images", file_of(image)) for image in images], ("anchor_image", file_of(images[1]))]
    assert ask(port, "POST", "/v1/rank", *form_of(fields)).json == judge.rank("p", images, anchor=images[1]).to_dict()
    alone = [("prompt", "p"), ("images", file_of(images[0])), ("anchor_image", file_of(images[1]))]
    answer = ask(port, "POST", "/v1/score", *form_of(alone)).json
    assert answer["scores"] == judge.score("p", images[:1], anchor=images[1])


def test_data_urls(port):
    plain = compare_body()
    prefixed = {**plain, "image_a": f"data:image/png;base64,{plain['image_a']}"}
    assert ask(port, "POST", "/v1/compare", prefixed).json == ask(port, "POST", "/v1/compare", plain).json


@pytest.mark.slow
def test_many_at_once_get_each_its_own(judge, port):
    draw = random.Random(0)
    asked = [
        (place % 12, {"rollouts": draw.choice([1, 1, 2, 3]), "seed": draw.randrange(3), "listen": draw.random() < 0.3})
        for place in range(24)
    ]
    with ThreadPoolExecutor(12) as threads:
        answers = list(
            threads.map(lambda each: ask(port, "POST", "/v1/compare", compare_body(each[0], **each[1])), asked)
        )
    for (place, options), answer in zip(asked, answers, strict=True):
        pair = PAIRS[place]
        expected = judge.compare(pair.prompt, pair.image_a, pair.image_b, **options).to_dict()
        assert differences(answer.json, expected, within=1e-5) == []
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == len(asked)


def test_the_model_is_loaded_once(monkeypatch):
    loads, ears = [], []
    load = weights_of.load_backbone
    monkeypatch.setattr(weights_of, "load_backbone", lambda *args, **how: loads.append(args[0]) or load(*args, **how))
    loaded = loading.load_judge(loading.Wanted("shapes"))
    make_ear = loaded.make_ear
    judge = Judge(loading.Loaded(loaded.thinker, lambda: ears.append(1) or make_ear()), "shapes")
    judge.preload_listener()
    assert (len(loads), len(ears)) == (1, 1)
    weights = threading.Event()
    monkeypatch.setattr(backbone.Backbone, "__init__", lambda *_, **__: weights.set())
    with serving(create_app(judge)) as port, ThreadPoolExecutor(6) as threads:
        bodies = [compare_body(place, listen=bool(place % 2)) for place in range(6)]
        answers = list(threads.map(lambda body: ask(port, "POST", "/v1/compare", body), bodies))
    assert [answer.status for answer in answers] == [200] * 6
    assert (len(loads), len(ears)) == (1, 1)
    assert not weights.is_set()
