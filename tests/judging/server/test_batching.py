"""The batching thread: turns, shares, failures, dropped requests."""

import threading
from concurrent.futures import CancelledError

import pytest

from lit_listener.judging.forms import PairForm
from lit_listener.judging.requests import CompareRequest, RankRequest
from lit_listener.judging.server.batching import Batcher
from lit_listener.tasks import PairwisePreference
from tests.judging.server.served import PAIRS, images_of

FORM = PairForm(PairwisePreference())


class Watched:
    """The bundled judge, and a note of each batch; it waits at the first until it is let go."""

    def __init__(self, judge, batch_size=8):
        self.judge = judge
        self.batch_size = batch_size
        self.batches = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.fails_at = lambda showings: None

    def thoughts(self, showings):
        self.begun.set()
        assert self.go.wait(20)
        self.batches.append([(showing.prompt, showing.rollouts) for showing in showings])
        self.fails_at(showings)
        return self.judge.thoughts(showings)


@pytest.fixture
def watched(judge):
    return Watched(judge)


@pytest.fixture
def batcher(watched):
    batcher = Batcher(watched)
    yield batcher
    watched.go.set()
    batcher.close()


def compare(prompt, place=0, **options):
    return CompareRequest(prompt, PAIRS[place].image_a, PAIRS[place].image_b, **options)


def hold(watched, batcher):
    """A request that the model is busy with."""
    first = batcher.submit(compare("held").plan(FORM))
    assert watched.begun.wait(20)
    return first


def test_what_waits_shares_a_batch_and_gets_its_own(judge, watched, batcher):
    first = hold(watched, batcher)
    requests = [compare(f"prompt {place}", place) for place in range(4)]
    futures = [batcher.submit(request.plan(FORM)) for request in requests]
    watched.go.set()
    for request, future in zip(requests, futures, strict=True):
        told, expected = future.result(20), next(judge.answers([request]))
        assert [trace.text for trace in told.traces] == [trace.text for trace in expected.traces]
        assert told.p_a == pytest.approx(expected.p_a, abs=1e-5)
    assert first.result().prompt == "held"
    assert [len(batch) for batch in watched.batches] == [2, 8]


def test_a_long_ranking_does_not_hold_up_a_short_comparison(watched, batcher):
    hold(watched, batcher)
    long = batcher.submit(RankRequest("long", images_of(*range(8))).plan(FORM))  # 14 showings
    short = batcher.submit(compare("short").plan(FORM))
    watched.go.set()
    long.result(30)
    short.result(30)
    _, second, third = watched.batches
    assert [prompt for prompt, _ in second] == ["long"] * 2 + ["short"] * 2 + ["long"] * 4
    assert [prompt for prompt, _ in third] == ["long"] * 8


def test_batches_are_no_larger_than_they_may_be(watched, batcher):
    hold(watched, batcher)
    futures = [batcher.submit(compare(f"{rollouts}", rollouts=rollouts).plan(FORM)) for rollouts in (3, 3, 1, 12, 2)]
    watched.go.set()
    assert [len(future.result(30).traces) for future in futures] == [6, 6, 2, 24, 4]
    for batch in watched.batches:
        assert sum(rollouts for _, rollouts in batch) <= 8 or len(batch) == 1


def test_the_one_at_fault_fails_alone(watched, batcher):
    hold(watched, batcher)

    def fails_at(showings):
        if any(showing.prompt == "bad" for showing in showings):
            raise ValueError("it is bad")

    watched.fails_at = fails_at
    good, bad, better = (batcher.submit(compare(prompt).plan(FORM)) for prompt in ("good", "bad", "better"))
    watched.go.set()
    assert good.result(20).prompt == "good"
    assert better.result(20).prompt == "better"
    with pytest.raises(ValueError, match="it is bad"):
        bad.result(20)
    watched.fails_at = lambda showings: None
    assert batcher.submit(compare("bad").plan(FORM)).result(20).prompt == "bad"


def test_the_rest_of_a_failed_request_is_not_asked(watched, batcher):
    hold(watched, batcher)

    def fails(showings):
        raise RuntimeError("no memory")

    watched.fails_at = fails
    watched.batches.clear()
    failed = batcher.submit(RankRequest("long", images_of(*range(12))).plan(FORM))
    watched.go.set()
    with pytest.raises(RuntimeError, match="no memory"):
        failed.result(20)
    batcher.close()
    asked = sum(len(batch) for batch in watched.batches if batch[0][0] == "long")
    assert asked <= 8 + 2  # of 22: a batch, and its first turn once more


def test_cancelled_requests_are_dropped(watched, batcher):
    hold(watched, batcher)
    dropped, kept = (batcher.submit(compare(prompt).plan(FORM)) for prompt in ("dropped", "kept"))
    assert batcher.waiting == 2
    assert dropped.cancel()
    watched.go.set()
    kept.result(20)
    with pytest.raises(CancelledError):
        dropped.result()
    assert [{prompt for prompt, _ in batch} for batch in watched.batches] == [{"held"}, {"kept"}]


def test_a_request_that_goes_while_it_is_judged_harms_nobody(watched, batcher):
    first = hold(watched, batcher)
    assert first.cancel()
    watched.go.set()
    assert batcher.submit(compare("next").plan(FORM)).result(20).prompt == "next"


def test_closing_answers_what_waits(watched, batcher):
    hold(watched, batcher)
    waiting = [batcher.submit(compare(f"{place}").plan(FORM)) for place in range(6)]
    threading.Timer(0.05, watched.go.set).start()
    batcher.close()
    assert all(future.done() for future in waiting)
    with pytest.raises(RuntimeError, match="ended"):
        batcher.submit(compare("late").plan(FORM))


def test_nothing_to_think_about_is_answered_at_once(batcher):
    image = images_of(0)[0]
    assert batcher.submit(RankRequest("p", [image], anchor=image).plan(FORM)).result(1).scores == (0.5,)


def test_a_batch_waits_for_what_is_on_its_way(judge):
    watched, reading = Watched(judge), [True]
    watched.go.set()
    batcher = Batcher(watched, wait_s=5.0, on_the_way=lambda: reading[0])
    first = batcher.submit(compare("first").plan(FORM))
    assert not watched.begun.wait(0.1)
    reading[0] = False
    second = batcher.submit(compare("second").plan(FORM))
    assert {first.result(20).prompt, second.result(20).prompt} == {"first", "second"}
    batcher.close()
    assert [len(batch) for batch in watched.batches] == [4]
