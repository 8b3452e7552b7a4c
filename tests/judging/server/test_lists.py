"""A judge that looks at all images at once, served: its answers over the wire are those in this process."""

import pytest

pytest.importorskip("fastapi")

from lit_listener.judging.client import JudgeClient
from lit_listener.judging.judge import Judge
from lit_listener.judging.server.answers import RankAnswer
from lit_listener.judging.server.app import create_app
from tests.judging.forms.test_lists import loaded
from tests.judging.server.served import PAIRS, ask, differences, images_of, rank_body, serving

PROMPT = PAIRS[0].prompt


@pytest.fixture(scope="module")
def lister() -> Judge:
    return loaded(listener="shapes-instruct")


@pytest.fixture(scope="module")
def port(lister):
    with serving(create_app(lister)) as port:
        yield port


@pytest.fixture(scope="module")
def client(port) -> JudgeClient:
    return JudgeClient(f"http://127.0.0.1:{port}")


def test_the_client_gives_the_same_record(lister, client):
    images = images_of(0, 1, 2)
    ranking = client.rank(PROMPT, images, rollouts=2, listen=True)
    expected = lister.rank(PROMPT, images, rollouts=2, listen=True)
    assert differences(ranking.to_dict(), expected.to_dict(), 1e-5) == []
    assert ranking.list_traces[0].order == (0, 1, 2)
    assert client.score(PROMPT, images, rollouts=2) == pytest.approx(expected.scores, abs=1e-5)
    assert not client.health().rates_images


def test_traces_can_be_left_out(lister, port):
    told = ask(port, "POST", "/v1/rank", rank_body(0, 1, 2, listen=True, traces=False)).json
    RankAnswer.model_validate(told)
    assert told["list_traces"] == []
    heard = lister.rank(PROMPT, images_of(0, 1, 2), listen=True).listener_scores
    assert told["listener_scores"] == pytest.approx(heard, abs=1e-5)
    whole = ask(port, "POST", "/v1/rank", rank_body(0, 1, 2)).json
    assert len(RankAnswer.model_validate(whole).list_traces) == 2
    anchored = ask(port, "POST", "/v1/rank", rank_body(0, 1, 2, anchor=1, traces=False)).json
    assert anchored["list_traces"] is None


def test_too_many_images_are_refused_unless_there_is_an_anchor(port, client):
    places = [place % 32 for place in range(10)]
    status, code, message = ask(port, "POST", "/v1/score", rank_body(*places)).error
    assert (status, code) == (422, "unanswerable")
    assert "takes 9 of them at most" in message
    with pytest.raises(ValueError, match="give an anchor"):
        client.rank(PROMPT, images_of(*places))
    assert ask(port, "POST", "/v1/score", rank_body(*places, anchor=3)).json["anchor"] == 3
