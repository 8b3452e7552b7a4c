import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings

from lit_listener.data.records import PairSource
from lit_listener.data.scenes import KINDS, RENDERERS, ScenesPairs, ScenesVoters
from lit_listener.data.scenes.renderers import Renderer
from tests.data.scenes.drawn import attempts


@pytest.fixture(scope="module")
def many() -> list:
    pairs = ScenesPairs(sorted(RENDERERS), 600, drop_ties=False)
    return [pairs.undrawn(index) for index in range(len(pairs))]


def facts(pair) -> tuple:
    return pair.prompt, pair.scene_a, pair.scene_b, pair.share_a, pair.votes, pair.generator_a, pair.generator_b


def test_one_seed_gives_identical_pixels_and_votes():
    first, larger = ScenesPairs(["flat", "grain"], 12, seed=7), ScenesPairs(["flat", "grain"], 100, seed=7)
    for index in (11, 3):  # in any order
        a, b = first[index], larger[index]
        assert facts(a) == facts(b) == facts(first.undrawn(index))
        assert a.image_a.tobytes() == b.image_a.tobytes()
        assert a.image_b.tobytes() == b.image_b.tobytes()


@pytest.mark.parametrize("changed", [{"seed": 8}, {"split": "validation"}, {"split": "test"}])
def test_seeds_and_splits_share_no_pair(changed):
    pairs, others = (ScenesPairs(["flat"], 30, **({"seed": 7} | options)) for options in ({}, changed))
    assert not {facts(pairs.undrawn(i)) for i in range(30)} & {facts(others.undrawn(i)) for i in range(30)}


@pytest.mark.parametrize("drop_ties", [True, False])
def test_prompt_and_agreement_are_told_without_pictures(drop_ties, monkeypatch):
    pairs = ScenesPairs(["flat", "paper"], 25, drop_ties=drop_ties)
    assert isinstance(pairs, PairSource)
    expected = [(pair.prompt, max(pair.share_a, 1 - pair.share_a)) for pair in pairs]
    drawn = []
    real = Renderer.draw
    monkeypatch.setattr(Renderer, "draw", lambda *args: drawn.append(1) or real(*args))
    assert [(pairs.prompt(index), pairs.agreement(index)) for index in range(25)] == expected
    assert len(drawn) < 20  # those of ties that were left out, if any


def test_ties_exist_unless_they_are_dropped(many):
    dropped = ScenesPairs(sorted(RENDERERS), 600)
    ties = [index for index, pair in enumerate(many) if pair.preferred is None]
    assert 2 <= len(ties) <= 30  # of 600
    assert all(dropped.undrawn(index).preferred is not None for index in ties[:5])


def test_kinds_renderers_and_sides_are_balanced(many):
    kinds = Counter(pair.category for pair in many)
    assert set(kinds) == set(KINDS)
    assert all(abs(count - 120) < 40 for count in kinds.values())  # four standard errors of 9.8
    generators = Counter(name for pair in many for name in (pair.generator_a, pair.generator_b))
    assert all(abs(generators[name] - 1200 / 7) < 50 for name in RENDERERS)
    assert abs(Counter(pair.preferred for pair in many)["a"] - 300) < 60


def test_binding_relations_and_spelling_decide_many_pairs(many):
    """A judge that looks for the prompt's words alone, wherever they are bound, is wrong about such pairs."""

    def words(scene) -> Counter:
        return Counter(word for part in scene.parts for word in (part.count, part.colour, part.form))

    def wrong_binding_alone(pair) -> bool:
        worst = min((pair.scene_a, pair.scene_b), key=lambda scene: scene.fit(pair.wanted))
        return words(worst) == words(pair.wanted) and worst.fit(pair.wanted) < pair.wanted.fit(pair.wanted)

    assert sum(map(wrong_binding_alone, many)) / len(many) > 0.05


@settings(max_examples=100, deadline=None)
@given(attempts())
def test_utility_is_higher_for_a_better_fit(drawn):
    wanted, scene = drawn
    voters = ScenesVoters()
    assert voters.utility(scene, wanted) <= voters.utility(wanted, wanted)
    if scene.fit(wanted) < wanted.fit(wanted):  # one thing that fits is worth more than three crisp parts
        faded = wanted.fit(wanted) + 0.0
        assert scene.fit(wanted) + voters.finish_weight * len(scene.parts) < faded


def test_votes_follow_bradley_terry_by_hand():
    crowd, rng = ScenesVoters(), np.random.default_rng(0)
    for difference in (-1.0, 0.3, 2.0):
        ballots = [crowd.ballot(difference, rng) for _ in range(1000)]
        for_a, votes = map(sum, zip(*ballots, strict=True))
        # about 17,000 votes: standard error 0.004 at most
        assert for_a / votes == pytest.approx(1 / (1 + math.exp(-1.5 * difference)), abs=0.016)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"renderers": ["flat", "oil"]}, r"renderers: expected one or more of \['chalk', .*\], got \['flat', 'oil'\]"),
        ({"renderers": []}, r"renderers: expected one or more of .*, got \[\]"),
        ({"size": 0}, "size: a data set needs at least 1 pair or picture, got size=0"),
        ({"split": "dev"}, r"split: expected one of \['train', 'validation', 'test'\], got 'dev'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ScenesPairs(**({"renderers": ["flat"], "size": 1} | arguments))
