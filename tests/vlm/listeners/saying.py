"""A listener that says what a table says, and keeps what it was given."""

from collections.abc import Sequence

import torch

from lit_listener.vlm.listeners import Heard, Hearing, Listener


class Saying(Listener):
    """Says p(second) of each completion, in turn with each hearing; None where it hears nothing."""

    reads_reference = False

    def __init__(self, *p_second: Sequence[float | None], discarded: Sequence[float] | None = None) -> None:
        super().__init__()
        self.tables = list(p_second)
        self.discarded = discarded
        self.given: list[Hearing] = []

    def metrics(self) -> dict[str, float]:
        return {"saying/hearings": float(len(self.given))}

    def hear(self, hearing: Hearing) -> Heard:
        table = self.tables[len(self.given) % len(self.tables)]
        self.given.append(hearing)
        p_N = torch.tensor([0.5 if p is None else p for p in table])
        said_N = torch.tensor([p is not None for p in table])
        discarded_N = torch.zeros_like(p_N) if self.discarded is None else torch.tensor(self.discarded)
        return Heard(torch.stack([1 - p_N, p_N], 1), hearing.readable_N & said_N, discarded_N)
