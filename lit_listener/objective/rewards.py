"""The listener's reward, and the reward it shapes.

Gambashidze et al. 2025, Eq. 5: r = r_fmt + 0.5 r_acc + 0.5 max(0, p_corr - 0.5).
Left out: parsing completions, and asking the listener. What could not be read arrives as `readable=False`, never as a
made-up probability.

Letters in names: N completions.
"""

import torch
from torch import Tensor


def listener_reward(p_correct: Tensor, readable: Tensor | None = None) -> Tensor:
    """Reward what convinces the listener of the right image (Gambashidze et al. 2025, Eq. 5): max(0, p_corr - 0.5).

    Args:
        p_correct: The listener's probability of the right image, shape [N], in [0, 1].
        readable: Bool tensor of the same shape, False where the completion has no answer position: it gets 0, and its
            p_correct, which may be NaN, is ignored. None: all are readable.

    Returns:
        Rewards in [0, 0.5], same shape.

    Raises:
        ValueError: If a readable p_correct is NaN or outside [0, 1], or the shapes disagree.
        TypeError: If `readable` is not a bool tensor.

    Examples:
        >>> import torch
        >>> listener_reward(torch.tensor([0.75, 0.25, float("nan")]), torch.tensor([True, True, False]))
        tensor([0.2500, 0.0000, 0.0000])
    """
    if readable is None:
        readable = torch.ones_like(p_correct, dtype=torch.bool)
    if readable.dtype != torch.bool:
        raise TypeError(f"readable must be a bool tensor, got {readable.dtype}")
    if readable.shape != p_correct.shape:
        raise ValueError(f"readable must have shape {list(p_correct.shape)} as p_correct, got {list(readable.shape)}")
    _check_unit_interval("p_correct", p_correct, readable)
    return (p_correct - 0.5).clamp(min=0.0).masked_fill(~readable, 0.0)


def shaped_reward(
    format: Tensor,
    accuracy: Tensor,
    p_correct: Tensor,
    readable: Tensor | None = None,
    *,
    accuracy_weight: float = 0.5,
    listener_weight: float = 0.5,
) -> Tensor:
    """Add up the reward of a completion (Gambashidze et al. 2025, Eq. 5).

    Args:
        format: 1 (or True) where the completion keeps the format, else 0, shape [N].
        accuracy: 1 (or True) where its answer is right, else 0, shape [N].
        p_correct: The listener's probability of the right image, shape [N], in [0, 1].
        readable: As in `listener_reward`.
        accuracy_weight: Weight of accuracy, 0.5 in the paper.
        listener_weight: Weight of the listener's reward, 0.5 in the paper; 0 is plain GRPO.

    Returns:
        Rewards, same shape and dtype as p_correct; in [0, 1.75] with the paper's weights.

    Raises:
        ValueError: If the shapes disagree, or a value that counts is NaN or outside [0, 1].
        TypeError: If `readable` is not a bool tensor.

    Examples:
        >>> import torch
        >>> shaped_reward(torch.tensor([1.0]), torch.tensor([1.0]), torch.tensor([0.9]))  # 1 + 0.5 + 0.5 x 0.4
        tensor([1.7000])
    """
    for name, values in (("format", format), ("accuracy", accuracy)):
        if values.shape != p_correct.shape:
            raise ValueError(f"{name} must have shape {list(p_correct.shape)} as p_correct, got {list(values.shape)}")
        _check_unit_interval(name, values, torch.ones_like(values, dtype=torch.bool))
    listener = listener_reward(p_correct, readable)
    return format.to(listener.dtype) + accuracy_weight * accuracy.to(listener.dtype) + listener_weight * listener


def _check_unit_interval(name: str, values: Tensor, counts: Tensor) -> None:
    bad = counts & ~((values >= 0) & (values <= 1))
    if bad.any():
        index = bad.nonzero()[0].tolist()
        row = index[0] if len(index) == 1 else index
        raise ValueError(f"{name} must lie in [0, 1], got {values[tuple(index)].item()} at row {row}")
