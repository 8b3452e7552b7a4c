"""Two processes of which one's listener fails: both stop at the same place, save, and go on exactly."""

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.failing_ranks import UP
from tests.training.several_ranks import STRATEGIES, by_two_ranks
from tests.vlm.listeners.faulty_proxy import Fault, FaultyProxy, faulty_proxy

pytestmark = pytest.mark.slow


def canned(proxy: FaultyProxy, fails: Any) -> Any:
    """A server whose word on a request depends on nothing but the request."""

    def answer(n: int) -> Fault:
        method, _, body, _ = proxy.requests[n]
        if method == "GET":
            return Fault(200, {}, b'{"data": [{"id": "judge"}]}')
        if fails(n):
            return Fault()
        p = (hashlib.sha256(body).digest()[0] + 1) / 300
        top = [{"token": "1", "logprob": math.log(p)}, {"token": "0", "logprob": math.log(1 - p)}]
        return Fault(200, {}, json.dumps({"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}]}).encode())

    return answer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("failing")
    began: list[int] = []

    def fails(n: int) -> bool:
        """The second server, in the middle of a run, as long as it is not said to be up."""
        if (root / UP).exists():
            began.clear()
            return False
        began.append(n)
        return len(began) > 6

    with faulty_proxy(9) as one, faulty_proxy(9) as other:
        one.fault, other.fault = canned(one, lambda _: False), canned(other, fails)
        said = by_two_ranks("tests.training.failing_ranks", str(root), one.url, other.url)
    assert len(re.findall(r"Broke off; the last checkpoint is that after [1-4] rollouts", said)) == len(STRATEGIES)
    return root


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_both_stop_and_one_says_why(folder, strategy):
    told = [(folder / f"{strategy}.{rank}.txt").read_text() for rank in (0, 1)]
    assert told[0] == "the listener of another process failed, and rank 0 stops with it: its own message tells why"
    assert "nothing was answered for 1 seconds" in told[1]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_they_go_on_exactly(folder, strategy):
    for rank in (0, 1):
        ends = torch.load(folder / f"{strategy}.{rank}.pt", weights_only=True)
        assert ends["straight"].keys() == ends["resumed"].keys()
        assert all(torch.equal(ends["resumed"][name], value) for name, value in ends["straight"].items())
