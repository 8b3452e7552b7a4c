"""A judge that rates images: how requests come down to questions, by hand; and the bundled one, as users call it."""

from itertools import permutations

import numpy as np
import pytest
from PIL import Image

from lit_listener.data.shown import ShownImage
from lit_listener.judging.forms import ImageForm, PairForm, form_of
from lit_listener.judging.judge import Judge
from lit_listener.judging.requests import CompareRequest, RankRequest
from lit_listener.judging.results import Comparison, Ranking
from lit_listener.judging.thoughts import Thought
from lit_listener.tasks import AbsoluteRating, PairwisePreference
from lit_listener.tasks.transcript import Outcome, Transcript

FORM = form_of(AbsoluteRating(ratings=3))
A, B, C = (Image.new("RGB", (2, 2), colour) for colour in ("red", "green", "blue"))


def thought(*p_label: float, answer: int | None = None, heard: tuple[float, ...] | None = None) -> Thought:
    transcript = Transcript("<think>t</think>", Outcome.OK, "t", answer, 3)
    return Thought(transcript, p_label, forced=False, contradicts=False, tokens=5, listener_p_label=heard)


# ---- by hand ---------------------------------------------------------------------------------------------------------


def test_the_task_chooses_the_form():
    assert isinstance(FORM, ImageForm)
    assert isinstance(form_of(PairwisePreference()), PairForm)
    assert (FORM.scores_alone, form_of(PairwisePreference()).scores_alone) == (True, False)


def test_every_image_is_asked_about_once():
    plan = RankRequest("p", [A, B, C], rollouts=2, seed=4).plan(FORM)
    assert [showing.pictures[0].image.getpixel((0, 0)) for showing in plan.showings] == [
        (255, 0, 0),
        (0, 128, 0),
        (0, 0, 255),
    ]
    assert all(isinstance(showing.shown, ShownImage) and showing.rollouts == 2 for showing in plan.showings)
    ranking = plan.conclude(
        [
            [thought(0.0, 1.0, 0.0, answer=1), thought(0.0, 0.0, 1.0, answer=2)],  # 0.5 and 1: 0.75
            [thought(0.5, 0.5, 0.0, answer=0), thought(0.25, 0.25, 0.5)],  # 0.25 and 0.625: 0.4375
            [thought(0.0, 0.0, 1.0, answer=2), thought(0.0, 0.2, 0.8, answer=2)],  # 1 and 0.9: 0.95
        ]
    )
    assert ranking.scores == pytest.approx((0.75, 0.4375, 0.95))
    assert (ranking.order, ranking.ranks) == ((2, 0, 1), (2, 3, 1))
    assert (ranking.anchor, ranking.anchor_choice, ranking.comparisons) == (None, "none", (None, None, None))
    assert [trace.answer for trace in ranking.ratings[0].traces] == ["2", "3"]
    assert ranking.ratings[1].traces[1].answer is None
    assert [trace.score for trace in ranking.ratings[2].traces] == pytest.approx([1.0, 0.9])
    assert (ranking.ratings[0].lowest, ranking.ratings[0].highest) == ("1", "3")
    assert Ranking.from_dict(ranking.to_dict()) == ranking


def test_two_images_are_compared_by_their_ratings():
    plan = CompareRequest("p", A, B).plan(FORM)
    assert len(plan.showings) == 2
    said = plan.conclude([[thought(0, 1, 0, heard=(1, 0, 0))], [thought(0.0, 0.5, 0.5, heard=(0, 0, 1))]])
    # scores 0.5 and 0.75: 0.5 + 0.5 * (0.5 - 0.75); the listener's 0 and 1: 0.5 - 0.5
    assert said.p_a == pytest.approx(0.375)
    assert said.listener_p_a == pytest.approx(0.0)
    assert (said.preferred, said.flipped, said.traces, said.both_orders) == ("b", None, (), False)
    assert Comparison.from_dict(said.to_dict()) == said
    level = plan.conclude([[thought(0, 1, 0)], [thought(0.5, 0, 0.5)]])
    assert (level.p_a, level.preferred, level.listener_p_a) == (0.5, None, None)


def test_earlier_results_have_no_ratings():
    told = CompareRequest("p", A, B).plan(FORM).conclude([[thought(0, 1, 0)], [thought(0, 1, 0)]]).to_dict()
    del told["ratings"]
    assert Comparison.from_dict(told).ratings is None


def test_an_anchor_and_no_images_are_refused():
    with pytest.raises(ValueError, match="anchor: this judge rates each image by itself"):
        RankRequest("p", [A, B], anchor=0).plan(FORM)
    with pytest.raises(ValueError, match="at least one image, got none"):
        RankRequest("p", []).plan(FORM)


def test_streams_are_keyed_by_prompt_image_and_seed():
    def keys(request) -> list[object]:
        return [showing.key for showing in request.plan(FORM).showings]

    both = keys(RankRequest("p", [A, B]))
    assert keys(CompareRequest("p", B, A)) == both[::-1]
    assert keys(RankRequest("p", [B])) == both[1:]
    others = [*keys(RankRequest("q", [A])), *keys(RankRequest("p", [A], seed=1)), *both]
    assert len(set(others)) == 4


# ---- the bundled judge -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rater() -> Judge:
    return Judge.load("shapes-rater")


@pytest.fixture(scope="module")
def images(pairs) -> list[Image.Image]:
    return [pairs[0].image_a, pairs[0].image_b, pairs[1].image_a, pairs[2].image_b]


@pytest.fixture(scope="module")
def ranked(rater, pairs, images) -> Ranking:
    return rater.rank(pairs[0].prompt, images)


def test_it_prefers_what_people_prefer(rater, pairs):
    compared = rater.compare_many([(p.prompt, p.image_a, p.image_b) for p in pairs], rollouts=4, progress=False)
    clear = [(c, p) for c, p in zip(compared, pairs, strict=True) if abs(p.share_a - 0.5) > 0.3]
    assert len(clear) >= 6
    assert np.mean([(c.p_a > 0.5) == (p.share_a > 0.5) for c, p in clear]) > 0.7


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batch_size_changes_no_score(ranked, pairs, images, batch_size):
    again = Judge.load("shapes-rater", batch_size=batch_size).rank(pairs[0].prompt, images)
    assert again.scores == pytest.approx(ranked.scores, abs=1e-4)
    assert [[t.text for t in r.traces] for r in again.ratings] == [[t.text for t in r.traces] for r in ranked.ratings]


def test_neither_the_others_nor_their_order_change_a_score(rater, ranked, pairs, images):
    for order in list(permutations(range(4)))[5:24:9]:
        shuffled = rater.score(pairs[0].prompt, [images[place] for place in order])
        assert shuffled == pytest.approx([ranked.scores[place] for place in order], abs=1e-5)
    alone = [rater.score(pairs[0].prompt, [image])[0] for image in images]
    assert alone == pytest.approx(ranked.scores, abs=1e-5)


def test_a_comparison_is_the_difference_of_two_scores(rater, ranked, pairs, images):
    prompt = pairs[0].prompt
    said = rater.compare(prompt, images[0], images[1])
    assert said.p_a == pytest.approx(0.5 + 0.5 * (ranked.scores[0] - ranked.scores[1]), abs=1e-5)
    assert said.p_a + rater.compare(prompt, images[1], images[0]).p_a == pytest.approx(1, abs=1e-6)
    assert said == rater.compare(prompt, images[0], images[1], both_orders=False)
    assert rater.compare(prompt, images[0], images[0]).p_a == 0.5


def test_all_that_is_made_of_scores(rater, ranked, pairs, images):
    prompt = pairs[0].prompt
    ranking, rewards = rater.inference_rank(prompt, images)
    assert (ranking, rewards) == (list(ranked.ranks), pytest.approx(ranked.scores))
    assert rater.best_of(prompt, images) == [images[ranked.order[0]]]
    prompts = [prompt, pairs[1].prompt, prompt]  # one image of the second prompt: no company is needed
    rewards, info = rater.reward_fn()(images[:3], prompts)
    assert info == {}
    assert [rewards[0], rewards[2]] == pytest.approx([ranked.scores[0], ranked.scores[2]], abs=1e-5)
    assert rewards[1] == pytest.approx(rater.score(pairs[1].prompt, [images[1]])[0], abs=1e-5)


def test_a_pairwise_judge_still_needs_company(judge, pairs, images):
    with pytest.raises(ValueError, match="nothing to compare it with"):
        judge.reward_fn()(images[:1], [pairs[0].prompt])


def test_a_trace_without_an_answer_is_closed_and_read(pairs, images):
    short = Judge.load("shapes-rater", max_new_tokens=6)
    (trace,) = short.rank(pairs[0].prompt, images[:1]).ratings[0].traces
    assert (trace.forced, trace.answer, trace.outcome) == (True, None, "truncated")
    assert 0 <= trace.score <= 1


def test_a_listener_hears_ratings_too(pairs, images):
    rater = Judge.load("shapes-rater", listener="shapes-rater")
    heard = rater.rank(pairs[0].prompt, images[:2], listen=True).ratings
    assert all(0 <= rating.listener_score <= 1 for rating in heard)
    said = rater.compare(pairs[0].prompt, images[0], images[1], listen=True)
    assert said.listener_p_a == pytest.approx(0.5 + 0.5 * (heard[0].listener_score - heard[1].listener_score), abs=1e-5)
