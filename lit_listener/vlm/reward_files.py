"""A reward model's weights: out of a run's checkpoint, and as files of a folder.

A folder is a Hugging Face model or adapter as any other, and beside it the head as safetensors and ``reward.json``,
which says how images are put before the model.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from lit_listener.tasks.reward_question import RewardQuestion
from lit_listener.vlm.restoring import take_weights
from lit_listener.vlm.reward_backbone import LoadedReward, RewardBackbone, load_reward
from lit_listener.vlm.specs import PolicySpec

HEAD_FILE = "head.safetensors"
REWARD_CARD = "reward.json"
_IN_CHECKPOINT = "policy.head.weight"


def has_head(weights: Mapping[str, Tensor]) -> bool:
    """Whether the trained weights of a checkpoint are a reward model's."""
    return _IN_CHECKPOINT in weights


def restore_reward(spec: PolicySpec, weights: Mapping[str, Tensor], place: torch.device | None = None) -> LoadedReward:
    """A reward model with a checkpoint's weights.

    Args:
        spec: the policy of the run that it is of, in the number format that is wanted now.
        weights: trained weights by their names in the training module.
        place: where 4-bit weights are to be.

    Raises:
        FileNotFoundError: the base is not there.
        ValueError: the weights are of another model than the specification's.
    """
    loaded = load_reward(spec, place=place)
    take_weights(loaded.policy, weights)
    return loaded


def reward_files(policy: RewardBackbone, question: RewardQuestion) -> dict[str, str | bytes]:
    """What a folder has beside a model's own files, by name: the head, in float32, and how images are put before it.

    Raises:
        ValueError: the question is of a class that a folder could not name.
    """
    weight = policy.head.weight.detach().float().cpu().contiguous()
    return {HEAD_FILE: save({"weight": weight}), REWARD_CARD: reward_card(question)}


def reward_card(question: RewardQuestion) -> str:
    """The content of ``reward.json``.

    Raises:
        ValueError: the question is of a class that a folder could not name.
    """
    if type(question) is not RewardQuestion:
        raise ValueError(
            f"model.question: only the wording of lit_listener.tasks.RewardQuestion can be kept in a model folder, got "
            f"a {type(question).__name__}"
        )
    content = {"template": question.template, "system": question.system}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_reward_card(path: Path) -> RewardQuestion:
    """The question of a ``reward.json``.

    Raises:
        ValueError: it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return RewardQuestion(content["template"], content["system"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # the last two: of values that are no texts
        raise ValueError(f"{path} does not say how images are put before a reward model: {error!r}") from error


def read_head(folder: Path, policy: RewardBackbone) -> None:
    """Read a folder's head into a model.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it cannot be read, or is of another model.
    """
    path = folder / HEAD_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {HEAD_FILE}: a reward model's folder has one beside its weights")
    try:
        weight = load_file(path)["weight"]
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} cannot be read as a reward model's head: {error!r}") from error
    own = policy.head.weight
    if weight.shape != own.shape:
        raise ValueError(f"{path} has the shape {list(weight.shape)}, its model needs {list(own.shape)}")
    own.data.copy_(weight)
