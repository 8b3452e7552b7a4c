"""Packed rows, worked by hand; that a packed pass equals the plain one is shown in test_backbone.py."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import PromptBatch
from lit_listener.vlm.packed_attention import AttentionName, packed_pattern
from lit_listener.vlm.packing import PackedBatch, pack

PAD = 0


def prompts(lengths: list[int], next_positions: list[int]) -> PromptBatch:
    """Prompts of tokens 11, 12, … (the second one's are 21, …), padded on the right; positions as tokens' places."""
    longest = max(lengths)
    rows = [
        [10 * (index + 1) + place + 1 for place in range(n)] + [PAD] * (longest - n) for index, n in enumerate(lengths)
    ]
    mask = torch.tensor([[True] * n + [False] * (longest - n) for n in lengths])
    return PromptBatch(
        input_ids_PS=torch.tensor(rows),
        mask_PS=mask,
        position_ids_3PS=(mask.cumsum(1) - 1).expand(3, -1, -1),
        next_position_P=torch.tensor(next_positions),
        pixel_values_RC=torch.zeros(0, 1),
        image_grid_I3=torch.zeros(0, 3, dtype=torch.long),
        images_P=torch.zeros(len(lengths), dtype=torch.long),
    )


@torch.no_grad()
def seen(packed: PackedBatch, attention: AttentionName) -> Tensor:
    """Which places of its row each token sees, ``[P, K, K]``: where values are one-hot, attention says from where."""
    rows, tokens = packed.input_ids_PK.shape
    one_hot = torch.eye(tokens).expand(rows, 2, tokens, tokens)  # two key/value heads, four query heads
    pattern = packed_pattern(attention, packed, heads_per_key=2)
    weights = pattern.attend(0, torch.zeros(rows, 4, tokens, tokens), torch.zeros_like(one_hot), one_hot, 1.0)
    assert torch.equal(weights[:, :, 0] > 0, weights[:, :, 3] > 0)
    return weights[:, :, 0] > 0


@pytest.mark.parametrize("attention", ["sdpa", "flex"])
def test_by_hand(attention):
    # Prompt 1 has two tokens and goes on at position 5, prompt 2 has one token (and one of padding) and goes on at 3.
    packed = pack(prompts([2, 1], [5, 3]), Completions.from_ids([[1, 2], [3], [4], [5, 6]], PAD))
    assert packed.input_ids_PK.tolist() == [[11, 12, 1, 2, 3], [21, 4, 5, 6, PAD]]
    assert packed.position_ids_3PK[2, 0].tolist() == [0, 1, 5, 6, 5]
    assert packed.position_ids_3PK[0, 1, :4].tolist() == [0, 3, 3, 4]
    # A completion's first token is predicted from the prompt's last place, the second from the first's.
    assert packed.source_NT[[0, 3]].tolist() == [[1, 2], [0, 2]]
    assert packed.source_NT[[1, 2], 0].tolist() == [1, 0]
    assert packed.targets_NT.tolist() == [[1, 2], [3, PAD], [4, PAD], [5, 6]]
    assert packed.mask_NT.tolist() == [[True, True], [True, False], [True, False], [True, True]]
    visible = seen(packed, attention).int().tolist()
    assert visible[0] == [
        [1, 0, 0, 0, 0],  # the prompt sees itself
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],  # the first completion sees the prompt and itself
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],  # the second one nothing of the first
    ]
    assert [row[:4] for row in visible[1][:4]] == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1]]
    assert not any(row[4] for row in visible[1][:4])  # nothing sees padding


@settings(max_examples=50, deadline=None)
@given(data=st.data(), groups=st.integers(1, 4), size=st.integers(1, 4), attention=st.sampled_from(["sdpa", "flex"]))
def test_every_token_has_one_place(data, groups, size, attention):
    lengths = data.draw(st.lists(st.integers(1, 5), min_size=groups, max_size=groups))
    counts = data.draw(st.lists(st.integers(1, 6), min_size=groups * size, max_size=groups * size))
    rows = [[100 * (n + 1) + token for token in range(count)] for n, count in enumerate(counts)]
    asked = prompts(lengths, [7 * (index + 1) for index in range(groups)])
    packed = pack(asked, Completions.from_ids(rows, PAD))
    visible_PKK = seen(packed, attention)
    own = [lengths[p] + sum(counts[p * size : (p + 1) * size]) for p in range(groups)]
    assert packed.input_ids_PK.shape[1] == max(own)  # padding is squeezed out
    for n, row in enumerate(rows):
        group, last = n // size, lengths[n // size] - 1
        sources = packed.source_NT[n, : len(row)].tolist()
        assert sources[0] == last
        assert packed.input_ids_PK[group, sources].tolist() == [
            int(packed.input_ids_PK[group, last]),
            *row[:-1],
        ]
        places = [*sources[1:], sources[-1] + 1 if len(row) > 1 else None]
        for step, place in enumerate(place for place in places if place is not None):
            tokens = packed.input_ids_PK[group, visible_PKK[group, place]].tolist()
            assert tokens == [*asked.input_ids_PS[group, : last + 1].tolist(), *row[: step + 1]]
            assert packed.position_ids_3PK[:, group, place].tolist() == [7 * (group + 1) + step] * 3


def test_cut_completions_can_be_packed():
    few = Completions.from_ids([[1, 2, 3], [4], [5]], PAD).select(slice(1, 3))
    assert pack(prompts([2], [2]), few).input_ids_PK.tolist() == [[11, 12, 4, 5]]


def test_unequal_groups_are_refused():
    with pytest.raises(ValueError, match="3 completions cannot be groups of equal size for 2 prompts"):
        pack(prompts([1, 1], [1, 1]), Completions.from_ids([[1], [2], [3]], PAD))


def test_flex_trains_on_a_gpu_only():
    packed = pack(prompts([2], [2]), Completions.from_ids([[1], [2]], PAD))
    with pytest.raises(ValueError, match=r"policy\.attention: flex computes no gradients on a CPU; use sdpa"):
        packed_pattern("flex", packed, 1)
