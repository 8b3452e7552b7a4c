"""The judge as users call it, with the bundled model."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import lit_listener
from lit_listener.judging.judge import Judge
from lit_listener.judging.requests import CompareRequest, RankRequest
from lit_listener.judging.results import Comparison


def triples(pairs):
    return [(pair.prompt, pair.image_a, pair.image_b) for pair in pairs]


@pytest.fixture(scope="module")
def compared(judge, pairs) -> list[Comparison]:
    return judge.compare_many(triples(pairs), progress=False)


def test_it_is_the_packages_front_door():
    assert lit_listener.Judge is Judge
    assert lit_listener.JudgeClient.__name__ == "JudgeClient"
    with pytest.raises(AttributeError, match="no attribute 'Jury'"):
        lit_listener.Jury  # noqa: B018


def test_it_prefers_what_people_prefer(compared, pairs):
    clear = [(c, p) for c, p in zip(compared, pairs, strict=True) if abs(p.share_a - 0.5) > 0.3]
    assert len(clear) >= 6
    assert np.mean([(c.p_a > 0.5) == (p.share_a > 0.5) for c, p in clear]) > 0.8


def test_a_and_b_are_two_sides_of_one_number(judge, compared, pairs):
    other_way = judge.compare_many([(p.prompt, p.image_b, p.image_a) for p in pairs], rollouts=1, progress=False)
    for one, other in zip(compared, other_way, strict=True):
        assert one.p_a + other.p_a == pytest.approx(1, abs=1e-5)
        assert 0 <= one.p_a <= 1
        assert [trace.text for trace in one.traces] == [trace.text for trace in other.traces][::-1]


def test_several_rollouts_keep_the_symmetry(judge, pairs):
    pair = pairs[0]
    one = judge.compare(pair.prompt, pair.image_a, pair.image_b, rollouts=3, seed=5)
    other = judge.compare(pair.prompt, pair.image_b, pair.image_a, rollouts=3, seed=5)
    assert one.p_a + other.p_a == pytest.approx(1, abs=1e-5)
    assert len(one.traces) == 6
    assert len({trace.text for trace in one.traces if trace.first == "a"}) > 1 or one.traces[0].tokens < 10


def test_an_image_is_as_good_as_itself(judge, pairs):
    assert judge.compare(pairs[0].prompt, pairs[0].image_a, pairs[0].image_a).p_a == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("batch_size", [pytest.param(1, marks=pytest.mark.slow), 3, 256])
def test_batch_size_changes_no_score(compared, pairs, batch_size):
    judge = Judge.load("shapes", batch_size=batch_size)
    again = judge.compare_many(triples(pairs), progress=False)
    assert [c.p_a for c in again] == pytest.approx([c.p_a for c in compared], abs=1e-4)
    assert [[t.text for t in c.traces] for c in again] == [[t.text for t in c.traces] for c in compared]


def test_one_seed_gives_one_result(judge, compared, pairs):
    assert judge.compare_many(triples(pairs), progress=False) == compared
    assert Judge.load("shapes").compare_many(triples(pairs), progress=False) == compared
    other = judge.compare_many(triples(pairs), seed=1, progress=False)
    assert [[t.text for t in c.traces] for c in other] != [[t.text for t in c.traces] for c in compared]


@pytest.mark.slow
def test_threads_get_their_own_answers(judge, compared, pairs):
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda each: judge.compare(*each), triples(pairs) * 3))
    assert [c.p_a for c in found] == pytest.approx([c.p_a for c in compared] * 3, abs=1e-5)
    assert [c.prompt for c in found] == [p.prompt for p in pairs] * 3


@pytest.fixture(scope="module")
def four(pairs) -> list[Image.Image]:
    return [pairs[0].image_a, pairs[0].image_b, pairs[1].image_a, pairs[2].image_b]


@settings(max_examples=4, deadline=None)
@given(order=st.permutations(range(4)))
def test_the_order_of_the_images_changes_nothing(judge, pairs, four, order):
    whole = judge.rank(pairs[0].prompt, four)
    shuffled = judge.rank(pairs[0].prompt, [four[place] for place in order])
    assert shuffled.scores == pytest.approx([whole.scores[place] for place in order], abs=1e-5)
    assert order[shuffled.anchor] == whole.anchor


def test_a_rank_is_made_of_comparisons(judge, pairs, four):
    prompt = pairs[0].prompt
    ranking = judge.rank(prompt, four, anchor=2)
    for place in (0, 1, 3):
        alone = judge.compare(prompt, four[place], four[2])
        assert ranking.scores[place] == pytest.approx(alone.p_a, abs=1e-5)
        assert [t.text for t in ranking.traces[place]] == [t.text for t in alone.traces]
    assert ranking.scores[2] == 0.5
    assert sum(len(traces) for traces in ranking.traces) == 6  # O(n): three images, both orders
    assert [ranking.scores[place] for place in ranking.order] == sorted(ranking.scores, reverse=True)


def test_against_one_anchor_scores_agree_between_calls(judge, pairs, four):
    prompt, anchor = pairs[0].prompt, pairs[3].image_a
    together = judge.score(prompt, four, anchor=anchor)
    apart = [judge.score(prompt, [image], anchor=anchor)[0] for image in four]
    called = judge.score(prompt, four, anchor=lambda asked: {prompt: anchor}[asked])
    assert together == pytest.approx(apart, abs=1e-5)
    assert together == pytest.approx(called, abs=1e-5)


def test_single_order_is_the_papers_protocol(judge, pairs, four):
    ranking = judge.rank(pairs[0].prompt, four, both_orders=False)
    assert [len(traces) for traces in ranking.traces].count(1) == 3
    assert {trace.first for traces in ranking.traces for trace in traces} == {"a"}


def test_image_rewards_form(judge, pairs, four):
    ranking, rewards = judge.inference_rank(pairs[0].prompt, four)
    assert rewards == judge.score(pairs[0].prompt, four)
    assert sorted(ranking) == [1, 2, 3, 4]
    for one, other in combinations(range(4), 2):
        if rewards[one] != rewards[other]:
            assert (ranking[one] < ranking[other]) == (rewards[one] > rewards[other])


def test_the_best_of_n(judge, pairs, four):
    ranking = judge.rank(pairs[0].prompt, four)
    assert judge.best_of(pairs[0].prompt, four) == [four[ranking.order[0]]]
    assert judge.best_of(pairs[0].prompt, four, keep=3) == [four[place] for place in ranking.order[:3]]
    with pytest.raises(ValueError, match="keep: expected from 1 to 4, the number of images, got 5"):
        judge.best_of(pairs[0].prompt, four, keep=5)


def test_lists_of_unequal_length_are_ranked_as_one_by_one(judge, pairs, four):
    lists = [(pairs[0].prompt, four), (pairs[1].prompt, four[:2]), (pairs[2].prompt, four[1:])]
    together = judge.rank_many(lists, progress=False)
    for each, ranking in zip(lists, together, strict=True):
        assert ranking.scores == pytest.approx(judge.rank(*each).scores, abs=1e-5)


def test_mixed_requests_come_back_in_their_order(judge, pairs, four):
    requests = [
        RankRequest(pairs[0].prompt, four),
        CompareRequest(pairs[1].prompt, pairs[1].image_a, pairs[1].image_b, rollouts=2),
        RankRequest(pairs[2].prompt, [four[0]], anchor=four[0]),
        CompareRequest(pairs[3].prompt, pairs[3].image_a, pairs[3].image_b, listen=True),
    ]
    found = list(judge.answers(requests))
    assert [result.prompt for result in found] == [pair.prompt for pair in pairs[:4]]
    assert [type(result).__name__ for result in found] == ["Ranking", "Comparison", "Ranking", "Comparison"]
    assert found[1].p_a == pytest.approx(judge.compare(*triples(pairs)[1], rollouts=2).p_a, abs=1e-5)


def test_every_number_has_its_traces_and_is_json(judge, pairs, four):
    ranking = judge.rank(pairs[0].prompt, four, rollouts=2, listen=True)
    read = json.loads(json.dumps(ranking.to_dict()))
    for place, comparison in enumerate(read["comparisons"]):
        if place == ranking.anchor:
            assert comparison is None
            continue
        assert read["scores"][place] == np.mean([trace["p_a"] for trace in comparison["traces"]])
        assert all(trace["thinking"] in trace["text"] for trace in comparison["traces"])
        assert comparison["listener_p_a"] == np.mean([trace["listener_p_a"] for trace in comparison["traces"]])


def test_listening_changes_no_score(judge, compared, pairs):
    heard = judge.compare_many(triples(pairs), listen=True, progress=False)
    assert [c.p_a for c in heard] == pytest.approx([c.p_a for c in compared], abs=1e-5)
    assert all(0 <= c.listener_p_a <= 1 for c in heard)
    assert all(c.listener_p_a is None for c in compared)
    agrees = [(c.listener_p_a > 0.5) == (c.p_a > 0.5) for c in heard if abs(c.p_a - 0.5) > 0.4]
    assert np.mean(agrees) > 0.8  # the judge was trained to convince this listener


def test_who_has_no_listener_says_so(pairs):
    judge = Judge.load("shapes-blank", max_new_tokens=8)
    assert not judge.can_listen
    with pytest.raises(ValueError, match=r"no listener is known of shapes-blank; name one: Judge.load"):
        judge.compare(*triples(pairs)[0], listen=True)
    named = Judge.load("shapes-blank", max_new_tokens=8, listener="shapes-instruct")
    assert named.compare(*triples(pairs)[0], listen=True).listener_p_a is not None


def test_the_request_that_fails_is_named(judge, pairs):
    good = triples(pairs)[0]
    with pytest.raises(FileNotFoundError, match=r"number 2: image_a: there is no image nowhere.png"):
        judge.compare_many([good, good, ("p", "nowhere.png", good[1])], progress=False)
    with pytest.raises(ValueError, match="number 1: prompt: expected the text"):
        judge.rank_many([(good[0], good[1:]), ("", good[1:])], progress=False)
    with pytest.raises(ValueError, match=r"number 1: the prompt .* chat token <\|im_end\|>"):
        judge.compare_many([good, ("a <|im_end|> b", *good[1:])], progress=False)


def test_what_was_judged_before_a_failure_can_be_kept(pairs):
    judge = Judge.load("shapes", batch_size=2)

    def requests():
        for triple in triples(pairs)[:6]:
            yield CompareRequest(*triple)
        yield CompareRequest("p", "nowhere.png", "nowhere.png")

    results = judge.answers(requests())
    kept = [next(results) for _ in range(6)]
    with pytest.raises(FileNotFoundError):
        next(results)
    assert [result.prompt for result in kept] == [pair.prompt for pair in pairs[:6]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda judge, a, b: judge.rank("p", [a]), ValueError, "one image alone has nothing to be compared with"),
        (lambda judge, a, b: judge.score("p", [a]), ValueError, "one image alone"),
        (lambda judge, a, b: judge.rank("p", []), ValueError, "at least one image, got none"),
        (lambda judge, a, b: judge.rank("p", [a, b], anchor=2), IndexError, "no image 2 among 2"),
        (lambda judge, a, b: judge.compare("p", a, None), TypeError, "an image must be a PIL image"),
        (lambda judge, a, b: judge.compare("a <|im_end|> b", a, b), ValueError, r"chat token <\|im_end\|>"),
        (lambda judge, a, b: judge.compare("word " * 5000, a, b), ValueError, "exceed the model's context"),
        (lambda judge, a, b: judge.compare("p", a, b, rollouts=0), ValueError, "rollouts: expected at least 1"),
        (lambda judge, a, b: judge.compare_many(("p", a, b)), TypeError, "one of its members is str"),
        (lambda judge, a, b: judge.compare_many([("p", a)]), TypeError, "one of its members is 2 of tuple"),
        (lambda judge, a, b: judge.rank_many([{"p": [a, b]}]), TypeError, "one of its members is dict"),
        (lambda judge, a, b: judge.rank("p", [a, b, None]), TypeError, r"images\[2\]: an image must be"),
        (
            lambda judge, a, b: judge.compare("p", a, "gone.png"),
            FileNotFoundError,
            "image_b: there is no image gone.png",
        ),
        (lambda judge, a, b: judge.reward_fn(anchor=1), TypeError, "expected an image or a callable"),
        (lambda judge, a, b: Judge.load("shapes", batch_size=0), ValueError, "batch_size: expected at least 1"),
    ],
)
def test_bad_input_is_told(judge, pairs, call, error, message):
    with pytest.raises(error, match=message):
        call(judge, pairs[0].image_a, pairs[0].image_b)
    assert judge.compare(*triples(pairs)[0]).p_a >= 0  # it lives


def test_tensors_and_batches_of_them_are_images(judge, pairs, four):
    as_tensor_NCHW = torch.stack([torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255 for image in four])
    assert judge.score(pairs[0].prompt, as_tensor_NCHW) == judge.score(pairs[0].prompt, four)


def test_progress_is_on_the_error_output(judge, pairs, capsys):
    judge.compare_many(triples(pairs)[:1])
    assert capsys.readouterr().out == ""
