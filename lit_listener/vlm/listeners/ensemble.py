"""Several listeners as one: what they say on average, or what the least convinced of them says."""

from typing import Literal

import torch
from torch import Tensor, nn

from lit_listener.tasks import Task
from lit_listener.vlm.listeners.listener import Heard, Hearing, Listener


class EnsembleListener(Listener):
    """Hears with several listeners, one after another; a completion is heard where all of them hear it.

    With ``mean`` the labels' probabilities and the discarded mass are the members' means. With ``min`` they are those
    of the member that is least convinced of the right label (the first of such), and the discarded mass is the largest:
    what one member alone was talked into is not rewarded. Where no right label is known, which is so in evaluation
    alone, ``min`` is the mean too.

    Args:
        listeners: two at least.
        how: mean or min.
    """

    def __init__(self, listeners: list[Listener], how: Literal["mean", "min"] = "mean") -> None:
        super().__init__()
        if len(listeners) < 2:
            raise ValueError(f"model.listener.listeners: expected two listeners at least, got {len(listeners)}")
        if how not in _JOINED:
            raise ValueError(f"model.listener.how: expected one of {sorted(_JOINED)}, got {how!r}")
        self.reads_reference = any(member.reads_reference for member in listeners)
        self.listeners = nn.ModuleList(listeners)
        self.how: Literal["mean", "min"] = how

    @property
    def members(self) -> list[Listener]:
        """The listeners, in the order in which they hear."""
        return [member for member in self.listeners if isinstance(member, Listener)]

    def prepare(self, task: Task, tokenizer: object) -> None:
        """Prepare each member."""
        for member in self.members:
            member.prepare(task, tokenizer)

    @property
    def in_evaluation(self) -> Listener:
        """Itself; where members are controls, the ensemble with those in their place who listen for them."""
        members = [member.in_evaluation for member in self.members]
        if all(one is other for one, other in zip(members, self.members, strict=True)):
            return self
        return EnsembleListener(members, self.how)

    def metrics(self) -> dict[str, float]:
        """The members' numbers, each with its member's place after its name."""
        return {f"{name}_{place}": x for place, each in enumerate(self.members) for name, x in each.metrics().items()}

    def hear(self, hearing: Hearing) -> Heard:
        """Every member's word, joined."""
        heard = [member.hear(hearing) for member in self.members]
        labels_N = torch.tensor(
            [-1 if label is None else label for label in hearing.labels for _ in range(hearing.group_size)]
        )
        p_ENL = torch.stack([each.p_label_NL for each in heard])
        discarded_EN = torch.stack([each.discarded_mass_N for each in heard])
        readable_N = torch.stack([each.readable_N for each in heard]).all(0)
        p_label_NL, discarded_N = _JOINED[self.how](p_ENL, discarded_EN, labels_N)
        return Heard(p_label_NL, readable_N, discarded_N)


def _mean(p_ENL: Tensor, discarded_EN: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    return p_ENL.mean(0), discarded_EN.mean(0)


def _min(p_ENL: Tensor, discarded_EN: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    known_N = labels_N >= 0
    right_EN = p_ENL.gather(2, labels_N.clamp(min=0).expand(len(p_ENL), -1)[..., None]).squeeze(2)
    least_N = right_EN.argmin(0)
    p_NL = p_ENL[least_N, torch.arange(len(least_N))]
    mean_NL, mean_N = _mean(p_ENL, discarded_EN, labels_N)
    return torch.where(known_N[:, None], p_NL, mean_NL), torch.where(known_N, discarded_EN.amax(0), mean_N)


_JOINED = {"mean": _mean, "min": _min}
