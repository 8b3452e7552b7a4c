"""Chunked log-probabilities, entropies and label logits against torch.distributions and hand-worked numbers."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical
from torch.utils._python_dispatch import TorchDispatchMode

from lit_listener.objective import SUPPRESSED_LOGIT, completion_log_probs, label_logits, suppression_mask

N, T, D, V = 3, 7, 5, 23
SUPPRESSED = torch.tensor([2, 11, 19])
KEPT = torch.tensor([row for row in range(21) if row not in (2, 11, 19)])  # rows 21 and 22 are padding


def inputs(dtype: torch.dtype = torch.float32, *, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(N, T, D, generator=generator) * scale
    weight = torch.randn(V, D, generator=generator)
    targets = KEPT[torch.randint(len(KEPT), (N, T), generator=generator)]
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), targets


def categorical(hidden: Tensor, weight: Tensor, temperature: float) -> Categorical:
    return Categorical(logits=(hidden.detach().double() @ weight.detach().double().T)[..., KEPT] / temperature)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("chunk_tokens", [1, 4, 100])
def test_matches_categorical_over_kept_ids(temperature: float, chunk_tokens: int) -> None:
    hidden, weight, targets = inputs()
    log_probs, entropy = completion_log_probs(
        hidden,
        weight,
        targets,
        temperature=temperature,
        suppressed_ids=SUPPRESSED,
        chunk_tokens=chunk_tokens,
        vocabulary_size=21,
    )
    expected = categorical(hidden, weight, temperature)
    places = torch.searchsorted(KEPT, targets)
    torch.testing.assert_close(log_probs.double(), expected.log_prob(places), atol=1e-5, rtol=0)
    torch.testing.assert_close(entropy.double(), expected.entropy(), atol=1e-5, rtol=0)


def test_by_hand() -> None:
    # Logits log 1, log 2, log 5 and a suppressed log 9: p = 1/8, 2/8, 5/8.
    # Entropy: (1/8) log 8 + (2/8) log 4 + (5/8) log 1.6 = 0.25993 + 0.34657 + 0.29375 = 0.90026.
    weight = torch.tensor([1.0, 2.0, 5.0, 9.0]).log()[:, None]
    log_probs, entropy = completion_log_probs(
        torch.ones(1, 2, 1),
        weight,
        torch.tensor([[2, 0]]),
        temperature=1.0,
        suppressed_ids=torch.tensor([3]),
        chunk_tokens=1,
    )
    torch.testing.assert_close(log_probs, torch.tensor([[math.log(5 / 8), math.log(1 / 8)]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(entropy, torch.full((1, 2), 0.900256), atol=1e-5, rtol=0)


@pytest.mark.parametrize("chunk_tokens", [1, 4, 6])
def test_chunked_equals_unchunked_in_value_and_gradient(chunk_tokens: int) -> None:
    results = []
    for size in (N * T, chunk_tokens):
        hidden, weight, targets = inputs()
        outputs = completion_log_probs(
            hidden, weight, targets, temperature=0.7, suppressed_ids=SUPPRESSED, chunk_tokens=size
        )
        weights = torch.linspace(-1.0, 1.0, N * T).view(N, T)
        (outputs[0] * weights + 0.3 * outputs[1] * weights.flip(0)).sum().backward()
        results.append((*outputs, hidden.grad, weight.grad))
    for whole, chunked in zip(*results, strict=True):
        torch.testing.assert_close(chunked, whole, atol=1e-5, rtol=1e-5)


def test_gradient_matches_float64_autograd() -> None:
    hidden, weight, targets = inputs()
    log_probs, entropy = completion_log_probs(
        hidden, weight, targets, temperature=0.7, suppressed_ids=SUPPRESSED, chunk_tokens=4, vocabulary_size=21
    )
    (log_probs.sum() + 2.0 * entropy.sum()).backward()
    hidden64, weight64 = (tensor.detach().double().requires_grad_() for tensor in (hidden, weight))
    distribution = Categorical(logits=(hidden64 @ weight64.T)[..., KEPT] / 0.7)
    places = torch.searchsorted(KEPT, targets)
    (distribution.log_prob(places).sum() + 2.0 * distribution.entropy().sum()).backward()
    for tensor, tensor64 in ((hidden, hidden64), (weight, weight64)):
        assert tensor.grad is not None
        assert tensor64.grad is not None
        torch.testing.assert_close(tensor.grad.double(), tensor64.grad, atol=2e-5, rtol=1e-5)
    assert weight.grad is not None
    assert (weight.grad[SUPPRESSED] == 0).all()
    assert (weight.grad[21:] == 0).all()


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_suppressed_target_is_finite(scale: float) -> None:
    hidden, weight, _ = inputs(scale=scale)
    targets = torch.full((N, T), 11)
    log_probs, entropy = completion_log_probs(
        hidden, weight, targets, temperature=1.0, suppressed_ids=SUPPRESSED, chunk_tokens=4
    )
    assert log_probs.isfinite().all()
    assert (log_probs < 0.9 * SUPPRESSED_LOGIT).all()
    assert entropy.isfinite().all()
    (log_probs.sum() + entropy.sum()).backward()
    assert hidden.grad is not None
    assert weight.grad is not None
    assert hidden.grad.isfinite().all()
    assert weight.grad.isfinite().all()


def test_nothing_suppressed() -> None:
    hidden, weight, targets = inputs()
    log_probs, entropy = completion_log_probs(
        hidden, weight, targets, temperature=1.0, suppressed_ids=None, chunk_tokens=5
    )
    expected = Categorical(logits=hidden.detach() @ weight.detach().T)
    torch.testing.assert_close(log_probs, expected.log_prob(targets), atol=1e-5, rtol=0)
    torch.testing.assert_close(entropy, expected.entropy(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_results_are_float32(dtype: torch.dtype) -> None:
    hidden, weight, targets = inputs(dtype)
    log_probs, entropy = completion_log_probs(
        hidden, weight, targets, temperature=1.0, suppressed_ids=SUPPRESSED, chunk_tokens=5
    )
    assert log_probs.dtype == entropy.dtype == torch.float32
    # Normalised in float32, not in the input's dtype: the probabilities of all kept ids add up to 1.
    total = torch.zeros(N, T)
    for target in range(V):
        every = torch.full((N, T), target)
        total += completion_log_probs(
            hidden, weight, every, temperature=1.0, suppressed_ids=SUPPRESSED, chunk_tokens=50
        )[0].exp()
    torch.testing.assert_close(total, torch.ones(N, T), atol=1e-5, rtol=0)


def test_padding_changes_nothing() -> None:
    hidden, weight, targets = inputs()
    generator = torch.Generator().manual_seed(5)
    wide_hidden = torch.cat([hidden.detach(), torch.randn(N, 4, D, generator=generator)], dim=1).requires_grad_()
    wide_targets = torch.cat([targets, torch.full((N, 4), 2)], dim=1)  # id 2 is suppressed: any valid id will do
    narrow = completion_log_probs(hidden, weight, targets, temperature=0.9, suppressed_ids=SUPPRESSED, chunk_tokens=4)
    wide = completion_log_probs(
        wide_hidden, weight, wide_targets, temperature=0.9, suppressed_ids=SUPPRESSED, chunk_tokens=4
    )
    for one, other in zip(narrow, wide, strict=True):
        torch.testing.assert_close(other[:, :T], one, atol=1e-6, rtol=0)
    gradient = torch.autograd.grad(narrow[0].sum(), weight)[0]
    wide_gradient = torch.autograd.grad(wide[0][:, :T].sum(), weight)[0]
    torch.testing.assert_close(wide_gradient, gradient, atol=1e-5, rtol=1e-5)


def test_no_tokens() -> None:
    log_probs, entropy = completion_log_probs(
        torch.zeros(2, 0, D),
        torch.zeros(V, D),
        torch.zeros(2, 0, dtype=torch.int64),
        temperature=1.0,
        suppressed_ids=None,
        chunk_tokens=4,
    )
    assert log_probs.shape == entropy.shape == (2, 0)


class LargestTensor(TorchDispatchMode):
    """Records the element count of the largest tensor that any operation gives, in forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                self.elements = max(self.elements, value.numel())
        return result


@pytest.mark.parametrize("recording", [True, False])
def test_only_one_chunk_of_logits_exists(recording: bool) -> None:
    tokens, vocabulary, chunk = 64, 50, 4
    hidden = torch.randn(2, tokens // 2, 2, requires_grad=recording)
    weight = torch.randn(vocabulary, 2, requires_grad=recording)
    targets = torch.zeros(2, tokens // 2, dtype=torch.int64)
    kept: dict[int, int] = {}  # elements by storage: the chunks of an input share one

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes() // tensor.element_size()
        return tensor

    with LargestTensor() as largest, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        log_probs, entropy = completion_log_probs(
            hidden, weight, targets, temperature=1.0, suppressed_ids=None, chunk_tokens=chunk
        )
        if recording:
            (log_probs.sum() + entropy.sum()).backward()
    assert largest.elements == chunk * vocabulary
    # What the graph holds from forward to backward: the inputs (128 + 100 + 64 + 50 elements) and no logits. Without
    # checkpointing it would be two tensors of all 64 x 50 logits.
    assert sum(kept.values()) < tokens * vocabulary / 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, r"temperature must be > 0, got 0\.0"),
        ({"chunk_tokens": 0}, "chunk_tokens must be >= 1, got 0"),
        ({"vocabulary_size": 24}, r"vocabulary_size must lie in \[1, 23\].*got 24"),
        ({"suppressed_ids": torch.tensor([3, 23])}, r"must lie in \[0, 23\), got ids from 3 to 23"),
        ({"suppressed_ids": torch.tensor([-1, 3])}, r"must lie in \[0, 23\), got ids from -1 to 3"),
        ({"suppressed_ids": torch.arange(23)}, "leave none of 23 ids"),
        ({"targets_NT": torch.zeros(3, 6, dtype=torch.int64)}, r"shape \[3, 7\], got \[3, 6\]"),
        ({"weight_VD": torch.zeros(23, 6)}, r"with one D, got \[3, 7, 5\] and \[23, 6\]"),
    ],
)
def test_bad_arguments_are_named(changes: dict[str, Any], message: str) -> None:
    hidden, weight, targets = inputs()
    arguments: dict[str, Any] = {
        "hidden_NTD": hidden,
        "weight_VD": weight,
        "targets_NT": targets,
        "temperature": 1.0,
        "suppressed_ids": None,
        "chunk_tokens": 4,
    }
    with pytest.raises(ValueError, match=message):
        completion_log_probs(**(arguments | changes))


def test_suppression_mask() -> None:
    mask = suppression_mask(6, torch.tensor([1]), vocabulary_size=5)
    assert mask.tolist() == [False, True, False, False, False, True]
    assert not suppression_mask(6, None).any()


def test_label_logits_by_hand() -> None:
    # exp of the logits: 1 2 3 4 6, total 16. Label 0 is id 1 -> log 2; label 1 is ids 2 and 4 -> log (3 + 6) = log 9.
    # Discarded: 1 - (2 + 3 + 6) / 16 = 5 / 16.
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0, 6.0]).log()[:, None]
    logits, discarded = label_logits(torch.ones(2, 1), weight, [[1], [2, 4]])
    torch.testing.assert_close(logits, torch.tensor([[math.log(2), math.log(9)]] * 2), atol=1e-6, rtol=0)
    torch.testing.assert_close(discarded, torch.full((2,), 5 / 16), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_label_logits_match_full_softmax(dtype: torch.dtype) -> None:
    hidden, weight, _ = inputs(dtype)
    label_ids = [[0, 7], [3], [4, 5, 22]]
    logits, discarded = label_logits(hidden[0], weight, label_ids)
    assert logits.dtype == discarded.dtype == torch.float32
    full = (hidden[0].detach() @ weight.detach().T).double()
    probabilities = full.softmax(-1)
    for place, ids in enumerate(label_ids):
        torch.testing.assert_close(logits[:, place].double(), full[:, ids].exp().sum(-1).log(), atol=1e-5, rtol=0)
    kept = probabilities[:, [0, 7, 3, 4, 5, 22]].sum(-1)
    torch.testing.assert_close(discarded.double(), 1 - kept, atol=1e-5, rtol=0)


def test_nothing_discarded_stays_in_range() -> None:
    hidden, weight, _ = inputs()
    _, discarded = label_logits(hidden[0], weight, [list(range(V - 1)), [V - 1]])
    assert (discarded >= 0).all()
    torch.testing.assert_close(discarded, torch.zeros(T), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("label_ids", "message"),
    [
        ([], "at least one token id"),
        ([[1], []], r"at least one token id, got \[\[1\], \[\]\]"),
        ([[1], [1]], r"different ids in \[0, 23\), got \[\[1\], \[1\]\]"),
        ([[1], [23]], r"different ids in \[0, 23\)"),
        ([[-1], [1]], r"different ids in \[0, 23\)"),
    ],
)
def test_bad_labels_are_named(label_ids: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label_logits(torch.zeros(1, D), torch.zeros(V, D), label_ids)
