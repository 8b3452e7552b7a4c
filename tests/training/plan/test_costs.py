"""Shapes, curves and the largest cut that fits."""

from hypothesis import given
from hypothesis import strategies as st

from lit_listener.training.plan.costs import STEP, Curve, StepShape, largest

SHAPES = st.builds(StepShape, st.integers(1, 9), st.integers(1, 3000), st.integers(1, 12), st.integers(1, 600))


def test_tokens_of_a_step_by_hand():
    shape = StepShape(prompts=3, prompt_tokens=100, group_size=4, completion_tokens=10)
    assert (shape.smallest, shape.group_tokens, shape.whole) == (110, 140, 420)
    assert [shape.rollout_rows(budget) for budget in (1, 110, 119, 120, 140, 249, 250, 420, 9999)] == [
        *(1, 1, 1, 2, 4, 4, 5, 12, 12)
    ]
    assert [shape.rollout_prompts(budget) for budget in (110, 140, 141, 280, 420, 9999)] == [1, 1, 2, 2, 3, 3]


@given(SHAPES, st.integers(1, 10**5), st.integers(0, 10**4))
def test_a_larger_budget_samples_no_fewer_at_once(shape, budget, more):
    assert shape.rollout_rows(budget) <= shape.rollout_rows(budget + more) <= shape.prompts * shape.group_size
    assert shape.rollout_prompts(budget) <= shape.rollout_prompts(budget + more) <= shape.prompts


@given(SHAPES, st.integers(0, 50))
def test_longer_prompts_and_larger_groups_are_more_tokens(shape, more):
    longer = StepShape(shape.prompts, shape.prompt_tokens + more, shape.group_size, shape.completion_tokens)
    larger = StepShape(shape.prompts, shape.prompt_tokens, shape.group_size + more, shape.completion_tokens)
    assert shape.whole <= min(longer.whole, larger.whole)
    assert shape.smallest <= longer.smallest


def test_a_curve_goes_through_its_points_and_on():
    curve = Curve([(100, 10.0), (200, 20.0), (400, 80.0)])
    assert [curve(tokens) for tokens in (1, 100, 150, 200, 300, 400, 500)] == [10, 10, 15, 20, 50, 80, 110]
    assert Curve([(100, 10.0)])(250) == 25


@given(
    st.lists(st.tuples(st.integers(1, 10**4), st.floats(0, 1e12)), min_size=1, max_size=5, unique_by=lambda p: p[0]),
    st.integers(1, 2 * 10**4),
    st.integers(0, 10**4),
)
def test_a_curve_never_falls(points, tokens, more):
    curve = Curve(sorted(points))
    assert curve(tokens) <= curve(tokens + more) * (1 + 1e-9) + 1e-3


@given(st.floats(0, 1e6), st.floats(0, 1e3), st.floats(0, 1), st.integers(100, 5000), st.integers(2, 9))
def test_chords_lie_above_what_a_pass_costs_and_not_far(base, each, mask, least, times):
    def cost(tokens: int) -> float:
        return base + each * tokens + mask * tokens**2

    points = [least, least * times // 2, least * times]
    curve = Curve([(tokens, cost(tokens)) for tokens in sorted(set(points))])
    for tokens in range(least, least * times, max(1, least // 3)):
        gap = least * times
        assert cost(tokens) * (1 - 1e-9) <= curve(tokens) <= cost(tokens) + mask * gap**2 / 4 + 1e-3


@given(
    smallest=st.integers(1, 3000),
    more=st.integers(0, 10**5),
    each=st.integers(1, 10),
    limit=st.integers(0, 10**6),
)
def test_the_largest_budget_that_fits_is_chosen(smallest, more, each, limit):
    whole = smallest + more
    budget = largest(smallest, whole, lambda tokens: each * tokens, limit)
    allowed = [*range(STEP * -(-smallest // STEP), whole, STEP), whole]
    fitting = [tokens for tokens in allowed if each * tokens <= limit]
    assert budget == (max(fitting) if fitting else allowed[0])


def test_a_cost_at_the_limit_fits():
    assert largest(10, 5000, float, 1024.0) == 1024
    assert largest(10, 5000, float, 1023.9) == 768
    assert largest(10, 5000, float, 5000.0) == 5000
    assert largest(10, 5000, float, 1.0) == 256
    assert largest(10, 200, float, 1.0) == 200
