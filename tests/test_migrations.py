"""The README's migrations from other scorers: both sides of each diff are run, theirs against a stand-in of its API.

The stand-ins have the peers' signatures and return types, and no weights; ours is the bundled judge.
"""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from lit_listener.data.shapes import ShapesPairs

README = Path(__file__).parent.parent / "README.md"
NAMES = ("ImageReward", "HPSv2", "PickScore", "flow_grpo")


def migrations() -> dict[str, str]:
    section = README.read_text().split("### Coming from another scorer")[1].split("\n## ")[0]
    found = re.findall(r"From \[(\w+)\]\(.*?\n```diff\n(.*?)```", section, flags=re.DOTALL)
    return dict(found)


def side(diff: str, sign: str) -> str:
    """The code before ("-") or after ("+")."""
    return "\n".join(line[1:] for line in diff.splitlines() if line[:1] in (sign, " "))


class _RewardModel:
    """ImageReward's model."""

    def inference_rank(self, prompt: str, generations_list: list[Any]) -> tuple[list[int], list[float]]:
        rewards = [float(np.asarray(image).mean()) for image in generations_list]
        return [1 + sum(other > reward for other in rewards) for reward in rewards], rewards

    def score(self, prompt: str, image: Any) -> list[float]:
        return self.inference_rank(prompt, image)[1]


def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    def module(name: str, **members: Any) -> None:
        made = ModuleType(name)
        made.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, made)

    def hps(imgs_path: Any, prompt: str, cp: str | None = None, hps_version: str = "v2.0") -> list[float]:
        return [0.25 for _ in imgs_path]

    def pickscore_score(device: str):
        def _fn(images: torch.Tensor, prompts: list[str], metadata: Any):
            return torch.rand(len(images)), {}

        return _fn

    module("ImageReward", load=lambda name, device="cpu": _RewardModel())
    module("hpsv2", score=hps)
    module("flow_grpo")
    module("flow_grpo.rewards", pickscore_score=pickscore_score)


@pytest.fixture
def given() -> dict[str, Any]:
    """What a user's code has before these lines."""
    pairs = [ShapesPairs(["flat", "paper"], 4, "test")[place] for place in range(2)]
    images = [pairs[0].image_a, pairs[0].image_b, pairs[1].image_a]
    return {
        "prompt": pairs[0].prompt,
        "images": images,
        "image_a": images[0],
        "image_b": images[1],
        "device": "cpu",
        "metadata": [{}, {}, {}],
        "calc_probs": lambda prompt, images: torch.softmax(torch.rand(len(images)), -1).tolist(),
    }


def test_all_four_are_told():
    assert tuple(migrations()) == NAMES


@pytest.mark.parametrize("peer", NAMES)
def test_both_sides_run_and_give_the_same_kind(peer, given, monkeypatch):
    stand_ins(monkeypatch)
    if peer == "flow_grpo":
        tensors = [torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255 for image in given["images"]]
        given |= {"images": torch.stack(tensors), "prompts": [given["prompt"]] * 3}
    before, after = (dict(given) for _ in range(2))
    exec(side(migrations()[peer], "-"), before)  # the README's own lines
    exec(side(migrations()[peer], "+"), after)
    results = {
        "ImageReward": ["ranking", "rewards"],
        "HPSv2": ["scores"],
        "PickScore": ["probs"],
        "flow_grpo": ["scores", "info"],
    }
    for name in results[peer]:
        theirs, ours = before[name], after[name]
        assert len(theirs) == len(ours), name
        if len(ours):
            assert np.asarray(ours).dtype.kind == np.asarray(theirs).dtype.kind, name
    if peer == "ImageReward":
        assert sorted(after["ranking"]) == sorted(before["ranking"]) == [1, 2, 3]
        best = after["ranking"].index(1)
        assert after["rewards"][best] == max(after["rewards"])
    if peer == "PickScore":
        assert sum(after["probs"]) == pytest.approx(1)
    if peer == "flow_grpo":
        assert [0.5 * score for score in after["scores"]]  # as multi_score weighs them


def test_it_is_a_change_of_few_lines():
    for peer, diff in migrations().items():
        assert sum(line.startswith("+") for line in diff.splitlines()) <= 4, peer
