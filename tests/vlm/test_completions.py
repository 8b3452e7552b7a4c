"""Records of completions: what is content, and what selecting some of them keeps."""

import torch

from lit_listener.vlm.completions import Completions

END, PAD = 9, 0


def sampled() -> Completions:
    return Completions(
        ids_NT=torch.tensor([[1, END, PAD], [1, 2, 3], [END, PAD, PAD]]),
        mask_NT=torch.tensor([[True, True, False], [True, True, True], [True, False, False]]),
        truncated_N=torch.tensor([False, True, False]),
        label_logits_NTL=torch.arange(18.0).view(3, 3, 2),
    )


def test_content_leaves_out_the_end_token_and_padding():
    # a truncated completion has no end token: all of it is content
    assert sampled().content_ids() == [[1], [1, 2, 3], []]


def test_selection_is_cut_to_its_longest():
    few = sampled().select(slice(0, 1))
    assert few.ids_NT.tolist() == [[1, END]]
    assert few.mask_NT.tolist() == [[True, True]]
    assert few.truncated_N.tolist() == [False]
    assert few.label_logits_NTL.tolist() == [[[0.0, 1.0], [2.0, 3.0]]]
    assert few.content_ids() == sampled().content_ids()[:1]
    assert len(sampled().select(slice(1, 3))) == 2


def test_given_ids_are_padded_on_the_right():
    given = Completions.from_ids([[1, END], [1, 2, END]], PAD, labels=3)
    assert given.ids_NT.tolist() == [[1, END, PAD], [1, 2, END]]
    assert given.lengths_N.tolist() == [2, 3]
    assert given.content_ids() == [[1], [1, 2]]
    assert given.label_logits_NTL.shape == (2, 3, 3)


def test_a_record_moves_as_one():
    moved = sampled().to("meta")
    assert {moved.ids_NT.device.type, moved.mask_NT.device.type, moved.label_logits_NTL.device.type} == {"meta"}
