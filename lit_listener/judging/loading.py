"""Which judge a name means: a bundled one, a model folder, a hub id."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from lit_listener.judging.card import CARD, JudgeCard, default_card, read_card
from lit_listener.judging.listening import Ear
from lit_listener.tasks import Task
from lit_listener.vlm.encoding import label_token_ids
from lit_listener.vlm.image_cache import ImageCache
from lit_listener.vlm.listeners import ModelListener
from lit_listener.vlm.loading import PolicySpec, load_backbone
from lit_listener.vlm.rollout import GroupedRollout, Sampling
from lit_listener.vlm.specs import DTypeName, resolve
from lit_listener.vlm.thinker import Thinker


@dataclass(frozen=True)
class Wanted:
    """What is asked for; see ``Judge.load``."""

    model: str
    device: str = "auto"
    dtype: DTypeName | str = "auto"
    adapter: str | None = None
    load_in_4bit: bool = False
    task: Task | None = None
    listener: str | None = None
    max_new_tokens: int | None = None
    temperature: float | None = None
    max_pixels: int | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class Loaded:
    """A judge's model, ready on its device."""

    thinker: Thinker
    make_ear: Callable[[], Ear] | None
    """Loads the listener; None where none is known."""


def load_judge(wanted: Wanted) -> Loaded:
    """Load what is asked for.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no model that can judge, or the options contradict each other.
    """
    device = _device(wanted.device)
    dtype = _dtype(wanted.dtype, device)
    card = _card(wanted)
    spec = PolicySpec(
        wanted.model, dtype=dtype, max_pixels=wanted.max_pixels, trust_remote_code=wanted.trust_remote_code
    )
    policy, reader = load_backbone(wanted.model, spec)
    policy.requires_grad_(False)
    policy.to(device)
    task = wanted.task or card.task
    thinker = Thinker(
        policy=policy,
        reader=reader,
        task=task,
        label_ids=label_token_ids(reader.tokenizer, task.labels),
        sampling=Sampling(wanted.max_new_tokens or card.max_new_tokens, wanted.temperature or card.temperature),
        engine=GroupedRollout(),
        image_cache=ImageCache(),
    )
    named = wanted.listener or card.listener

    def make_ear() -> Ear:
        assert named is not None
        listener = ModelListener(named, context="reasoner", dtype=dtype)
        listener.prepare(task, reader.tokenizer)
        return Ear(listener.to(device))

    return Loaded(thinker, make_ear if named else None)


def _card(wanted: Wanted) -> JudgeCard:
    path = Path(resolve(wanted.model)) / CARD
    return read_card(path.read_text(), str(path)) if path.is_file() else default_card()


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _dtype(name: str, device: torch.device) -> DTypeName:
    if name == "auto":
        return "float32" if device.type == "cpu" else "bfloat16"
    return name  # type: ignore[return-value]
