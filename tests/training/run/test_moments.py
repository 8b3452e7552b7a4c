"""The random streams of a process, as bytes of a checkpoint."""

import random

import numpy as np
import pytest
import torch

from lit_listener.training.run import moments
from lit_listener.training.run.moments import set_streams, streams


def draw() -> list[float]:
    return [float(torch.rand(())), float(np.random.rand()), np.random.normal(), random.random(), random.gauss(0, 1)]  # noqa: NPY002


@pytest.mark.parametrize("drawn_before", [0, 1, 2])  # of normal numbers every second one is kept back
def test_streams_go_on_where_they_were(drawn_before):
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    for _ in range(drawn_before):
        random.gauss(0, 1)
        np.random.normal()  # noqa: NPY002
    saved = streams()
    expected = [draw(), draw()]
    draw()
    set_streams(saved)
    assert [draw(), draw()] == expected
    assert saved.dtype == torch.uint8


def test_all_processes_have_as_many_bytes():
    random.gauss(0, 1)
    lengths = {len(streams())}
    np.random.normal()  # noqa: NPY002
    draw()
    assert lengths == {len(streams())}


def test_another_python_is_told(monkeypatch):
    monkeypatch.setattr(moments.random, "getstate", lambda: (4, (), None))
    with pytest.raises(RuntimeError, match="expected a state of version 3, got 4"):
        streams()
