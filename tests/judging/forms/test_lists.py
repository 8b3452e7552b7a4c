"""A judge that looks at all images at once: how requests come down to questions, by hand; and an untrained one."""

from itertools import permutations

import pytest
from PIL import Image

from lit_listener.data.shown import ShownList, ShownPair
from lit_listener.judging.forms import ListForm, PairForm, form_of
from lit_listener.judging.judge import Judge
from lit_listener.judging.requests import CompareRequest, RankRequest
from lit_listener.judging.results import Ranking
from lit_listener.judging.thoughts import Thought
from lit_listener.tasks import ChoosesAmongImages, Listwise, PairwisePreference
from lit_listener.tasks.transcript import Outcome, Transcript

WORDING = "{prompt}.{% for label in labels %} image {{ label }} {image}{% endfor %} Which is the best?"
FORM = form_of(Listwise(labels=("1", "2", "3", "4")))
A, B, C = IMAGES = [Image.new("RGB", (2, 2), colour) for colour in ("red", "green", "blue")]


def thought(*p_label: float, answer: int | None = None, heard: tuple[float, ...] | None = None) -> Thought:
    transcript = Transcript("<think>t</think>", Outcome.OK, "t", answer, 3)
    return Thought(transcript, p_label, forced=False, contradicts=False, tokens=5, listener_p_label=heard)


def colours(showing) -> list[tuple[int, ...]]:
    return [image.getpixel((0, 0)) for image in showing.shown.images]


# ---- by hand ---------------------------------------------------------------------------------------------------------


def test_the_task_chooses_the_form():
    assert isinstance(FORM, ListForm)
    assert not isinstance(form_of(PairwisePreference()), ListForm)
    assert not isinstance(PairwisePreference(), ChoosesAmongImages)
    assert not FORM.scores_alone


def test_all_images_are_shown_at_once_as_given_and_reversed():
    red, green, blue = (255, 0, 0), (0, 128, 0), (0, 0, 255)
    plan = RankRequest("p", IMAGES, rollouts=3, seed=4).plan(FORM)
    assert [colours(showing) for showing in plan.showings] == [[red, green, blue], [blue, green, red]]
    assert all(isinstance(showing.shown, ShownList) and showing.rollouts == 3 for showing in plan.showings)
    assert [each.image.getpixel((0, 0)) for each in plan.showings[1].pictures] == [blue, green, red]
    (once,) = RankRequest("p", IMAGES, both_orders=False).plan(FORM).showings
    assert colours(once) == [red, green, blue]


def test_scores_are_the_mean_over_orders_and_rollouts():
    plan = RankRequest("p", IMAGES, rollouts=2).plan(FORM)
    ranking = plan.conclude(
        [
            # Labels 1 to 4 about A, B, C; the fourth is no image's. Shares of 0.8: A 1/8, B 2/8, C 5/8.
            [
                thought(0.1, 0.2, 0.5, 0.2, answer=2, heard=(1.0, 0.0, 0.0, 0.0)),
                # All of the images' probabilities vanish: level, a third each.
                thought(0.0, 0.0, 0.0, 1.0, answer=3, heard=(0.5, 0.5, 0.0, 0.0)),
            ],
            # The same labels about C, B, A. C 1/2, B 1/4, A 1/4.
            [
                thought(0.5, 0.25, 0.25, 0.0, answer=0, heard=(0.0, 0.0, 1.0, 0.0)),
                thought(1.0, 0.0, 0.0, 0.0, heard=(0.25, 0.25, 0.25, 0.25)),
            ],
        ]
    )
    # A: (1/8 + 1/3 + 1/4 + 0) / 4; B: (2/8 + 1/3 + 1/4 + 0) / 4; C: (5/8 + 1/3 + 1/2 + 1) / 4
    assert ranking.scores == pytest.approx((17 / 96, 20 / 96, 59 / 96), abs=1e-12)
    assert (ranking.order, ranking.ranks) == ((2, 1, 0), (3, 2, 1))
    assert (ranking.anchor, ranking.anchor_choice, ranking.comparisons) == (None, "none", (None, None, None))
    assert ranking.both_orders
    assert [(trace.order, trace.rollout) for trace in ranking.list_traces] == [
        ((0, 1, 2), 0),
        ((0, 1, 2), 1),
        ((2, 1, 0), 0),
        ((2, 1, 0), 1),
    ]
    # "3" as given is C, "4" is no image, "1" in reversed order is C, and one cannot be read.
    assert [trace.answer for trace in ranking.list_traces] == [2, None, 2, None]
    assert ranking.list_traces[2].scores == pytest.approx((0.25, 0.25, 0.5))
    # The listener's of A: (1 + 1/2 + 1 + 1/3) / 4; B: (0 + 1/2 + 0 + 1/3) / 4; C: (0 + 0 + 0 + 1/3) / 4
    assert ranking.listener_scores == pytest.approx((17 / 24, 5 / 24, 2 / 24), abs=1e-12)
    assert ranking.traces == ((), (), ())
    assert Ranking.from_dict(ranking.to_dict()) == ranking


def test_two_images_by_themselves_and_an_anchor_go_in_pairs():
    def shown(request) -> list[object]:
        return [showing.key for showing in request.plan(FORM).showings]

    def in_pairs(request) -> list[object]:
        return [showing.key for showing in request.plan(PairForm(Listwise())).showings]

    for request in (CompareRequest("p", A, B), RankRequest("p", IMAGES, anchor=1), RankRequest("p", [A], anchor=B)):
        assert shown(request) == in_pairs(request)
    ranking = RankRequest("p", [A], anchor=B, both_orders=False).plan(FORM).conclude([[thought(0.2, 0.6, 0.2, 0.0)]])
    assert (ranking.scores, ranking.anchor_choice) == (pytest.approx((0.25,)), "image")  # 0.2 / (0.2 + 0.6)
    assert ranking.list_traces is None
    assert ranking.listener_scores is None


def test_lists_that_cannot_be_shown_are_refused():
    with pytest.raises(ValueError, match=r"takes 4 of them at most, .* got 5\. .*give an anchor"):
        RankRequest("p", [A, B, C, A, B]).plan(FORM)
    assert len(RankRequest("p", [A, B, C, A, B], anchor=2).plan(FORM).showings) == 8
    with pytest.raises(ValueError, match="one image alone has nothing to be compared with"):
        RankRequest("p", [A]).plan(FORM)
    with pytest.raises(ValueError, match="at least one image, got none"):
        RankRequest("p", []).plan(FORM)


def test_earlier_results_have_no_list_traces():
    told = RankRequest("p", [A, B], anchor=0, both_orders=False).plan(FORM).conclude([[thought(0.5, 0.5)]]).to_dict()
    assert told.pop("list_traces") is None
    assert told.pop("listener_scores") is None
    assert Ranking.from_dict(told).list_traces is None


def test_every_order_has_streams_of_its_own():
    keys = [RankRequest("p", order, both_orders=False).plan(FORM).showings[0].key for order in permutations(IMAGES)]
    assert len(set(keys)) == 6
    assert len({*keys, *(each.key for each in RankRequest("p", IMAGES).plan(FORM).showings)}) == 6


# ---- an untrained judge, whose answers are poor but made like any other's --------------------------------------------


def loaded(**options) -> Judge:
    return Judge.load("shapes-instruct", task=Listwise(system=None, template=WORDING), max_new_tokens=48, **options)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return loaded()


@pytest.fixture(scope="module")
def images(pairs) -> list[Image.Image]:
    return [pairs[0].image_a, pairs[0].image_b, pairs[1].image_a]


@pytest.fixture(scope="module")
def ranked(judge, pairs, images) -> Ranking:
    return judge.rank(pairs[0].prompt, images, rollouts=2)


def test_scores_sum_to_one(ranked):
    assert sum(ranked.scores) == pytest.approx(1, abs=1e-9)
    assert all(sum(trace.scores) == pytest.approx(1, abs=1e-9) for trace in ranked.list_traces)
    assert len(ranked.list_traces) == 4
    assert len(set(ranked.scores)) == 3
    assert Ranking.from_dict(ranked.to_dict()) == ranked


def test_the_reversed_list_has_the_same_scores_and_other_orders_have_theirs(judge, pairs, images):
    orders = list(permutations(range(3)))
    rankings = judge.rank_many(
        [(pairs[0].prompt, [images[place] for place in order]) for order in orders], progress=False
    )
    of_image = {
        order: [ranking.scores[order.index(place)] for place in range(3)]
        for order, ranking in zip(orders, rankings, strict=True)
    }
    for order in orders:
        assert of_image[order] == pytest.approx(of_image[order[::-1]], abs=1e-5)
    assert len({round(scores[0], 4) for scores in of_image.values()}) == 3  # of 3! orders, two a ranking


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batch_size_changes_no_score(ranked, pairs, images, batch_size):
    again = loaded(batch_size=batch_size).rank(pairs[0].prompt, images, rollouts=2)
    assert again.scores == pytest.approx(ranked.scores, abs=1e-4)
    assert [trace.text for trace in again.list_traces] == [trace.text for trace in ranked.list_traces]


def test_lists_of_many_sizes_share_a_batch(judge, ranked, pairs, images):
    prompt = pairs[0].prompt
    both = judge.rank_many([(prompt, images[:2]), (prompt, images)], progress=False, rollouts=2)
    assert both[1].scores == pytest.approx(ranked.scores, abs=1e-4)
    assert both[0].scores == pytest.approx(judge.score(prompt, images[:2], rollouts=2), abs=1e-4)


def test_two_images_are_ranked_as_they_are_compared(judge, pairs, images):
    prompt = pairs[0].prompt
    compared = judge.compare(prompt, images[0], images[1])
    assert judge.score(prompt, images[:2]) == pytest.approx([compared.p_a, 1 - compared.p_a], abs=1e-4)


def test_a_trace_without_an_answer_is_closed_and_read(pairs, images):
    short = Judge.load("shapes-instruct", task=Listwise(system=None, template=WORDING), max_new_tokens=3)
    (trace,) = short.rank(pairs[0].prompt, images, both_orders=False).list_traces
    assert (trace.forced, trace.answer, trace.outcome) == (True, None, "truncated")
    assert sum(trace.scores) == pytest.approx(1)


def test_a_listener_hears_lists_too(pairs, images, ranked):
    heard = loaded(listener="shapes-instruct").rank(pairs[0].prompt, images, rollouts=2, listen=True)
    assert heard.scores == pytest.approx(ranked.scores, abs=1e-4)
    assert sum(heard.listener_scores) == pytest.approx(1, abs=1e-9)
    assert all(len(trace.listener_scores) == 3 for trace in heard.list_traces)


def test_all_that_is_made_of_scores(judge, pairs, images):
    prompt, score = pairs[0].prompt, judge.score(pairs[0].prompt, images)
    ranking, rewards = judge.inference_rank(prompt, images)
    assert rewards == pytest.approx(score, abs=1e-5)
    assert judge.best_of(prompt, images) == [images[ranking.index(1)]]
    assert judge.reward_fn()(images, [prompt] * 3)[0] == pytest.approx(score, abs=1e-5)
    with pytest.raises(ValueError, match="nothing to compare it with"):
        judge.reward_fn()(images[:1], [prompt])


def test_a_pair_of_another_task_is_no_list(pairs):
    shown = RankRequest(pairs[0].prompt, IMAGES).plan(FORM).showings[0].shown
    assert not isinstance(shown, ShownPair)
    with pytest.raises(TypeError, match="list to judge"):
        PairwisePreference().encode(shown)
