"""Penalties for length, worked by hand."""

import pytest
import torch

from lit_listener.training.rewards import LengthPenalty, SoftOverlong
from tests.training.rewards.judging import judged, transcript


def lengths(*tokens: int, limit: int = 20) -> object:
    return judged([transcript()] * len(tokens), lengths=tokens, max_new_tokens=limit)


def test_tokens_beyond_the_free_ones():
    assert LengthPenalty(8)(lengths(1, 8, 9, 20)).tolist() == [0.0, 0.0, -1.0, -12.0]
    assert LengthPenalty(8).weight == 0.001


def test_soft_overlong_by_hand():
    # L_max 20, L_cache 8: free up to 12; 14 tokens: (12 - 14) / 8 = -1/4; 16: -1/2; 20: -1
    assert SoftOverlong(8)(lengths(1, 12, 14, 16, 20)).tolist() == [0.0, 0.0, -0.25, -0.5, -1.0]


def test_by_default_it_grows_over_a_fifth():
    # L_max 20, L_cache 4: 17 tokens: (16 - 17) / 4; 18: -1/2
    assert SoftOverlong()(lengths(16, 17, 18, 20)).tolist() == [0.0, -0.25, -0.5, -1.0]


def test_soft_overlong_with_a_limit_of_its_own():
    # L_max 12, L_cache 4: 10 tokens: (8 - 10) / 4 = -1/2; beyond 12 it stays at -1
    assert SoftOverlong(4, longest=12)(lengths(8, 10, 12, 13, 20)).tolist() == [0.0, -0.5, -1.0, -1.0, -1.0]


def test_a_completion_that_was_given_up_early_is_not_overlong():
    given_up = judged([transcript(None, None)], lengths=[3])
    assert SoftOverlong(8)(given_up).tolist() == [0.0]


def test_one_number_a_completion():
    for term in (LengthPenalty(0), SoftOverlong(2)):
        values = term(lengths(1, 2, 3))
        assert values.shape == (3,)
        assert values.dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LengthPenalty(-1), "LengthPenalty: free: expected at least 0 tokens, got -1"),
        (lambda: SoftOverlong(0), "SoftOverlong: cache: expected at least 1 token, got 0"),
        (lambda: SoftOverlong(8, longest=4), r"SoftOverlong: longest: expected at least cache \(8\) tokens, got 4"),
        (
            lambda: SoftOverlong(30)(lengths(1)),
            r"SoftOverlong: cache: 30 tokens are more than the longest completion has, 20 \(model.sampling",
        ),
    ],
)
def test_options_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
