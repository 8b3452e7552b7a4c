"""Live bytes, counted by hand, and the same on tensors that hold nothing."""

import pytest
import torch
from torch.nn import functional

from lit_listener.vlm.live_bytes import LiveBytes, attention_of

KIB = 1024


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_storages_count_from_their_making_to_their_end(device):
    before = torch.zeros(KIB, device=device)
    with LiveBytes() as counted:
        view = before.view(32, 32)  # was there already
        assert (counted.live, counted.peak) == (0, 0)
        doubled = view * 2
        same = doubled.t()
        assert counted.live == 4 * KIB
        added = doubled + 1
        assert counted.live == counted.peak == 8 * KIB
        del added
        assert (counted.live, counted.peak) == (4 * KIB, 8 * KIB)
        del doubled
        assert counted.live == 4 * KIB, "a view keeps it"
        del same
        assert counted.live == 0


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_is_kept_for_the_backward_pass_counts_until_then(device):
    weight = torch.ones(KIB, device=device, requires_grad=True)
    weight.grad = torch.zeros_like(weight)
    with LiveBytes() as counted:
        result = (weight.exp() * weight).sum()
        assert counted.live == 4 * KIB + 4  # exp is kept, the product is not
        result.backward()
        del result
        assert counted.live == 0  # the gradient was there before
    assert counted.peak > 4 * KIB + 4


def test_a_value_read_off_a_meta_tensor_is_nothing_and_a_real_one_is_itself():
    with LiveBytes():
        meta = torch.ones(3, dtype=torch.long, device="meta")
        assert int(meta.sum()) == 0
        assert not bool((meta > 0).any())
        assert meta.nonzero().shape == (0, 1)
        assert int(torch.ones(3).sum()) == 3
        assert (meta * torch.ones(3)).is_meta, "a real tensor beside a meta one is taken for a meta one"


@pytest.mark.parametrize("masked", [False, True])
def test_meta_tensors_take_the_cpu_kernel_and_what_it_keeps(masked):
    def run(device: str) -> tuple[int, int]:
        query, key, value = (torch.zeros(1, 2, 64, 8, device=device, requires_grad=True) for _ in range(3))
        mask = torch.ones(1, 1, 64, 64, dtype=torch.bool, device=device) if masked else None
        with attention_of("cpu"), LiveBytes() as counted:
            result = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask).sum()
            kept = counted.live
            result.backward()
        return kept, counted.peak

    assert run("meta") == run("cpu")


def test_the_kernel_of_cuda_keeps_the_mask_as_numbers_but_no_scores():
    query = torch.zeros(1, 2, 64, 8, device="meta", requires_grad=True)
    mask = torch.ones(1, 1, 64, 64, dtype=torch.bool, device="meta")
    with attention_of("cuda"), LiveBytes() as counted:
        output = functional.scaled_dot_product_attention(query, query, query, attn_mask=mask)
        assert output.shape == query.shape
        # output, log-sums, the mask in float32, and two numbers of the random state; scores would take 32 KiB more
        assert counted.live == 4 * (2 * 64 * 8 + 2 * 64 + 64 * 64) + 2 * 8


def test_torchs_own_function_is_back_after_the_block_and_serves_real_tensors_in_it():
    own = functional.scaled_dot_product_attention
    query = torch.randn(1, 2, 5, 8)
    expected = own(query, query, query, is_causal=True)
    with attention_of("cuda"):
        assert torch.equal(functional.scaled_dot_product_attention(query, query, query, is_causal=True), expected)
    assert functional.scaled_dot_product_attention is own
