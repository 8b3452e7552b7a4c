"""A model of another family than the reasoner's listens, in its own tokens and with its own eyes."""

import pytest
import torch

from lit_listener.vlm.listeners import BothOrdersListener, EnsembleListener, ModelListener, StrippedListener
from lit_listener.vlm.loading import load_backbone
from lit_listener.vlm.specs import PolicySpec
from tests.vlm.listeners.heard_shapes import TASK, hearing, shown
from tests.vlm.tiny import letters_tokenizer, plain_inputs, write_tiny

FAMILIES = ("qwen2_vl", "qwen3_vl")


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    """Random weights; and a tokenizer that is not the reasoner's."""
    made = tmp_path_factory.mktemp(request.param) / "model"
    return str(write_tiny(made, seed=3, family=request.param, tokenizer=letters_tokenizer()))


@pytest.fixture(scope="module")
def reader():
    return load_backbone("shapes-instruct", PolicySpec("shapes-instruct"))[1]


@pytest.mark.parametrize("context", ["own", "reasoner"])
def test_it_says_what_its_own_forward_pass_says(folder, reader, context):
    """The reasoner is a Qwen2.5-VL; the listener's word is that of transformers' plain path, one row a trace."""
    listener = ModelListener(folder, context)
    listener.prepare(TASK, reader.tokenizer)
    assert not listener.same_tokens
    given = hearing(reader, shown(3), 2)
    said = listener.hear(given)
    tokenizer = listener.reader.tokenizer
    spellings = [tokenizer.encode(label, add_special_tokens=False)[0] for label in TASK.labels]
    for n, transcript in enumerate(given.transcripts):
        told = TASK.retell_continuation(transcript.think) if context == "own" else TASK.opening(transcript.think)
        ids = tokenizer.encode(told, add_special_tokens=False)
        with torch.no_grad():
            logits = listener.backbone.model(**plain_inputs(listener.reader, given.shown[n // 2], ids, TASK)).logits
        expected = logits[0, -1, spellings].double().softmax(0).float()
        torch.testing.assert_close(said.p_label_NL[n], expected, atol=1e-5, rtol=0)


def test_it_goes_with_all_that_stands_around_a_listener(folder, reader):
    inner = [ModelListener(folder), ModelListener("shapes-instruct")]
    listener = EnsembleListener([StrippedListener(BothOrdersListener(inner[0])), inner[1]], "min")
    listener.prepare(TASK, reader.tokenizer)
    given = hearing(reader, shown(3), 2)
    said = listener.hear(given)
    assert said.readable_N.all()
    assert bool((said.p_correct_N(_labels(given)) <= inner[1].hear(given).p_correct_N(_labels(given)) + 1e-6).all())


def _labels(given):
    return torch.tensor(given.labels).repeat_interleave(given.group_size)
