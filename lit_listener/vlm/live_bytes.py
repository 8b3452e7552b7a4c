"""How many bytes of tensors a piece of computation holds at once, on real tensors or on meta ones that hold none.

torch has such trackers (``FakeTensorMode``, ``MemTracker``), but they stop at a value that is read off a tensor, which
a packed pass does. Here tensors are on the meta device, every value read off them is 0 (no image slots, no suppressed
id), and each storage is counted from the operation that makes it until nobody holds it any more. Not seen: what a
kernel takes and gives back within one operation, and what an allocator rounds up.
"""

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DeviceType = Literal["cuda", "cpu"]

_INDEXED = (
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
    torch.ops.aten._index_put_impl_.default,
)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages made while it is active; those that were there before are not counted.

    The backward pass is counted as well. Tensors on the meta device answer 0 and False where a value is read.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        """Bytes held now."""
        self.peak = 0
        """Most bytes held at once so far."""
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return False if args[0].dtype == torch.bool else 0
        if func is torch.ops.aten.nonzero.default and args[0].is_meta:
            return torch.empty(0, args[0].ndim, dtype=torch.long, device="meta")
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        if any(tensor.is_meta for tensor in given):
            if not all(tensor.is_meta for tensor in given):  # image grids stay real: lengths are read off them
                args, kwargs = tree_map_only(Tensor, _on_meta, (args, kwargs))
            if func in _INDEXED:
                args = (args[0], _chosen(args[1]), *args[2:])
        self._see(given, counted=False)
        result = func(*args, **(kwargs or {}))
        self._see(tree_leaves(result), counted=True)
        self.peak = max(self.peak, self.live)
        return result

    def _see(self, tensors: Iterable[Any], *, counted: bool) -> None:
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                continue
            storage = tensor.untyped_storage()
            if storage._cdata in self._known:  # torch keeps one Python object for a storage's whole life
                continue
            size = storage.nbytes() if counted else 0
            self._known.add(storage._cdata)
            self.live += size
            weakref.finalize(storage, self._gone, storage._cdata, size).atexit = False

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


@contextlib.contextmanager
def attention_of(device_type: DeviceType) -> Iterator[None]:
    """Give meta tensors the attention kernel of a device: by itself torch takes plain maths for them.

    Plain maths keeps the scores of all heads for the backward pass, which no fused kernel does. torch's function is
    replaced for the time of the block, because a function mode is not in force where a checkpointed layer is computed
    again in the backward pass. Real tensors go to it as ever.

    Args:
        device_type: cuda: the flash kernel, and where there is a mask or float32 the memory-efficient one, which alone
            takes them. cpu: the CPU's own fused kernel.
    """
    own, kernel = functional.scaled_dot_product_attention, _KERNELS[device_type]

    def attention(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **options: Any,
    ) -> Tensor:
        if query.is_meta:
            return kernel(query, key, value, attn_mask, is_causal)
        return own(query, key, value, attn_mask, dropout_p, is_causal, **options)

    functional.scaled_dot_product_attention = attention  # type: ignore[assignment]  # takes the same arguments
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = own


def _on_meta(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_meta else torch.empty_like(tensor, device="meta")


def _chosen(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Indices in which a mask chooses nothing: what it would choose cannot be known."""
    chosen: list[Tensor | None] = []
    for index in indices:
        if index is None or index.dtype != torch.bool:
            chosen.append(index)
        else:
            chosen += [torch.empty(0, dtype=torch.long, device="meta")] * index.ndim
    return chosen


def _added(mask: Tensor | None, query: Tensor) -> Tensor | None:
    """A boolean mask as what is added to the scores, in the queries' number format, as torch makes it for kernels."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, float("-inf"))


def _cuda_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    if mask is None and query.dtype != torch.float32:
        return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, 0.0, causal)[0]  # type: ignore[no-any-return]
    if key.shape[1] != query.shape[1]:
        key, value = (given.repeat_interleave(query.shape[1] // given.shape[1], 1) for given in (key, value))
    bias = _added(mask, query)
    if bias is not None:
        bias = bias.expand(query.shape[0], query.shape[1], -1, -1)
    saves = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (query, key, value))
    output: Tensor = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, saves, 0.0, causal
    )[0]
    return output


def _cpu_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    output: Tensor = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, causal, attn_mask=_added(mask, query)
    )[0]
    return output


_KERNELS: dict[DeviceType, Callable[[Tensor, Tensor, Tensor, Tensor | None, bool], Tensor]] = {
    "cuda": _cuda_attention,
    "cpu": _cpu_attention,
}
