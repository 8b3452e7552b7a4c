"""What the processes of one run tell each other. For a run of one process each function is the identity.

Every function that asks the other ranks must be called by all of them, the same number of times.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Processes of the run."""
    return dist.get_world_size() if _several() else 1


def rank() -> int:
    """This process's place among them, from 0."""
    return dist.get_rank() if _several() else 0


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank."""
    if not _several():
        return flag
    return bool(summed(torch.tensor(float(flag))) > 0)


def summed(tensor: Tensor) -> Tensor:
    """The sum over ranks of tensors of one shape, where the argument was."""
    if not _several():
        return tensor
    total = tensor.detach().to(_device(), copy=True)
    dist.all_reduce(total)
    return total.to(tensor.device)


def gathered(tensor: Tensor) -> Tensor:
    """All ranks' tensors of one shape, joined along the first dimension in the order of ranks."""
    if not _several():
        return tensor
    mine = tensor.detach().to(_device()).contiguous()
    sent = mine.to(torch.uint8) if mine.dtype == torch.bool else mine
    parts = [torch.empty_like(sent) for _ in range(world_size())]
    dist.all_gather(parts, sent)
    return torch.cat(parts).to(tensor.device, tensor.dtype)


def gathered_rows(tensor: Tensor) -> Tensor:
    """All ranks' tensors, joined along the first dimension, in which alone they may differ."""
    if not _several():
        return tensor
    counts = gathered(torch.tensor([len(tensor)])).tolist()
    padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    parts = gathered(padded).split(max(counts)) if max(counts) else [tensor]
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=False)])


def dealt_together(tensor: Tensor, groups: int) -> Tensor:
    """All ranks' rows in the order of one process: prompts are dealt out to ranks one by one, like cards.

    Args:
        tensor: rows of this rank's prompts, a prompt's rows side by side.
        groups: prompts of this rank; the same number on every rank.
    """
    joined: Tensor = gathered(tensor).unflatten(0, (world_size(), groups, -1))
    return joined.transpose(0, 1).flatten(0, 2)


def own_share(tensor: Tensor, groups: int) -> Tensor:
    """This rank's rows of what ``dealt_together`` put together."""
    dealt: Tensor = tensor.unflatten(0, (groups, world_size(), -1))
    return dealt[:, rank()].flatten(0, 1)


def receive(into: Tensor, sent: Tensor) -> None:
    """Fill a tensor with what rank 0 sends; what other ranks send is of no account."""
    if rank() == 0:
        into.copy_(sent)
    if _several():
        dist.broadcast(into, 0)


def longest(length: int) -> int:
    """The greatest of the ranks' lengths."""
    return int(gathered(torch.tensor([length])).max())


def barrier() -> None:
    """Wait for all ranks."""
    if _several():
        dist.barrier()


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
