"""The listener's reward and the shaped reward against hand-worked numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lit_listener.objective import listener_reward, shaped_reward

NAN = float("nan")


def test_listener_reward_by_hand() -> None:
    rewards = listener_reward(torch.tensor([0.0, 0.5, 0.6, 1.0]))
    torch.testing.assert_close(rewards, torch.tensor([0.0, 0.0, 0.1, 0.5]), atol=1e-6, rtol=0)


@given(p=st.floats(0, 1))
def test_listener_reward_matches_formula(p: float) -> None:
    assert listener_reward(torch.tensor([p], dtype=torch.float64)).item() == max(0.0, p - 0.5)


def test_unreadable_rows_get_zero() -> None:
    p_correct = torch.tensor([0.9, NAN, 0.9, 7.0])
    readable = torch.tensor([True, False, False, False])
    torch.testing.assert_close(
        listener_reward(p_correct, readable), torch.tensor([0.4, 0.0, 0.0, 0.0]), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(("value", "shown"), [(NAN, "nan"), (1.25, "1.25"), (-0.25, "-0.25"), (float("inf"), "inf")])
def test_first_bad_row_is_named(value: float, shown: str) -> None:
    p_correct = torch.tensor([0.5, NAN, 0.5, value, 3.0])
    readable = torch.tensor([True, False, True, True, True])
    with pytest.raises(ValueError, match=rf"p_correct must lie in \[0, 1\], got {shown} at row 3"):
        listener_reward(p_correct, readable)


def test_bad_place_of_a_group_is_named() -> None:
    with pytest.raises(ValueError, match=r"at row \[1, 0\]"):
        listener_reward(torch.tensor([[0.5, 0.5], [NAN, 0.5]]))


def test_readable_is_checked() -> None:
    with pytest.raises(TypeError, match=r"bool tensor, got torch\.int64"):
        listener_reward(torch.zeros(2), torch.ones(2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"readable must have shape \[2\] as p_correct, got \[1\]"):
        listener_reward(torch.zeros(2), torch.ones(1, dtype=torch.bool))


def test_shaped_reward_by_hand() -> None:
    # Row 0: 1 + 0.5 x 1 + 0.5 x 0.4 = 1.7. Row 1: 0 + 0.5 x 1 + 0.5 x 0 = 0.5 (right answer, wrong format, p 0.3).
    # Row 2: 1 + 0 + 0.5 x 0.5 = 1.25. Row 3: well-formed, unreadable to the listener: 1 + 0 + 0 = 1.
    rewards = shaped_reward(
        torch.tensor([1.0, 0.0, 1.0, 1.0]),
        torch.tensor([1.0, 1.0, 0.0, 0.0]),
        torch.tensor([0.9, 0.3, 1.0, NAN]),
        torch.tensor([True, True, True, False]),
    )
    torch.testing.assert_close(rewards, torch.tensor([1.7, 0.5, 1.25, 1.0]), atol=1e-6, rtol=0)


def test_shaped_reward_weights() -> None:
    # 1 + 2 x 1 + 3 x 0.25 = 3.75; bool terms are taken as 0 and 1.
    true = torch.tensor([True])
    reward = shaped_reward(true, true, torch.tensor([0.75]), accuracy_weight=2.0, listener_weight=3.0)
    assert reward.item() == pytest.approx(3.75)
    assert shaped_reward(true, true, torch.tensor([0.75]), listener_weight=0.0).item() == pytest.approx(1.5)


def test_shaped_reward_refuses_broadcasting() -> None:
    with pytest.raises(ValueError, match=r"accuracy must have shape \[3\] as p_correct, got \[1\]"):
        shaped_reward(torch.ones(3), torch.ones(1), torch.ones(3))
    with pytest.raises(ValueError, match=r"format must have shape \[3\] as p_correct, got \[3, 1\]"):
        shaped_reward(torch.ones(3, 1), torch.ones(3), torch.ones(3))


def test_shaped_reward_refuses_nan_terms() -> None:
    with pytest.raises(ValueError, match=r"accuracy must lie in \[0, 1\], got nan at row 1"):
        shaped_reward(torch.ones(2), torch.tensor([1.0, NAN]), torch.ones(2))
