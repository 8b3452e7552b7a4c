"""What optimizers keep, asked of them."""

from functools import partial

import pytest
import torch

from lit_listener.training.plan.optimizer_state import optimizer_bytes


@pytest.mark.parametrize(
    ("make", "state"),
    [
        (torch.optim.AdamW, 8),
        (partial(torch.optim.AdamW, amsgrad=True), 12),
        (partial(torch.optim.SGD, lr=0.1), 0),
        (partial(torch.optim.SGD, lr=0.1, momentum=0.9), 4),
        (torch.optim.Adafactor, (128 + 128) * 4 / 128**2),
    ],
    ids=["adamw", "amsgrad", "sgd", "momentum", "adafactor"],
)
def test_bytes_for_each_float32_weight(make, state):
    assert optimizer_bytes(make, torch.float32, "cpu").state == pytest.approx(state)


def test_states_follow_the_weights_number_format():
    assert optimizer_bytes(torch.optim.AdamW, torch.bfloat16, "cpu").state == 4


def test_a_step_over_all_weights_at_once_takes_a_copy_of_them():
    assert optimizer_bytes(torch.optim.AdamW, torch.float32, "cuda").scratch >= 4
    one_by_one = optimizer_bytes(partial(torch.optim.AdamW, foreach=False), torch.float32, "cuda")
    assert one_by_one == optimizer_bytes(torch.optim.AdamW, torch.float32, "cpu")
