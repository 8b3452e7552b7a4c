"""A judge that rates images, served: its answers over the wire are those in this process."""

import pytest

pytest.importorskip("fastapi")

from lit_listener.judging.client import JudgeClient
from lit_listener.judging.judge import Judge
from lit_listener.judging.server.app import create_app
from tests.judging.server.served import PAIRS, ask, compare_body, differences, images_of, rank_body, serving

PROMPT = PAIRS[0].prompt


@pytest.fixture(scope="module")
def rater() -> Judge:
    return Judge.load("shapes-rater")


@pytest.fixture(scope="module")
def port(rater):
    with serving(create_app(rater)) as port:
        yield port


@pytest.fixture(scope="module")
def client(port) -> JudgeClient:
    return JudgeClient(f"http://127.0.0.1:{port}")


def test_a_ranking_travels_whole(rater, port):
    images = images_of(0, 1, 2)
    expected = rater.rank(PROMPT, images, rollouts=2)
    told = ask(port, "POST", "/v1/rank", rank_body(0, 1, 2, rollouts=2)).json
    assert differences({name: told[name] for name in expected.to_dict()}, expected.to_dict(), 1e-5) == []
    assert len(told["ratings"]) == 3


def test_traces_can_be_left_out(port):
    ranked = ask(port, "POST", "/v1/rank", rank_body(0, 1, traces=False)).json
    assert [rating["traces"] for rating in ranked["ratings"]] == [[], []]
    compared = ask(port, "POST", "/v1/compare", compare_body(traces=False)).json
    assert [rating["traces"] for rating in compared["ratings"]] == [[], []]


def test_one_image_has_a_score_and_an_anchor_is_refused(rater, port):
    told = ask(port, "POST", "/v1/score", rank_body(0)).json
    assert told["scores"] == pytest.approx(rater.score(PROMPT, images_of(0)), abs=1e-5)
    assert told["anchor_choice"] == "none"
    status, code, message = ask(port, "POST", "/v1/score", rank_body(0, 1, anchor=1)).error
    assert (status, code) == (422, "unanswerable")
    assert "rates each image by itself" in message


def test_the_client_gives_the_same_records(rater, client):
    images = images_of(0, 1, 2)
    ranking, expected = client.rank(PROMPT, images), rater.rank(PROMPT, images)
    assert differences(ranking.to_dict(), expected.to_dict(), 1e-5) == []
    assert ranking.anchor_choice == "none"
    compared = client.compare(PROMPT, images[0], images[1])
    assert differences(compared.to_dict(), rater.compare(PROMPT, images[0], images[1]).to_dict(), 1e-5) == []


def test_the_client_knows_that_one_image_will_do(rater, client):
    assert client.health().rates_images
    images = images_of(0, 1)
    rewards, _ = client.reward_fn()(images, [PROMPT, PAIRS[1].prompt])
    assert rewards == pytest.approx(rater.reward_fn()(images, [PROMPT, PAIRS[1].prompt])[0], abs=1e-5)
