"""Loads a judge: checks what is asked for, finds device and number format, and puts model and question together."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from lit_listener.judging.batches import batches_at_once
from lit_listener.judging.listening import Ear
from lit_listener.judging.weights import Options, Trained, find_trained
from lit_listener.tasks import Task
from lit_listener.vlm.encoding import label_token_ids
from lit_listener.vlm.image_cache import ImageCache
from lit_listener.vlm.rollout import GroupedRollout, Sampling
from lit_listener.vlm.specs import DTypeName, is_untrained, resolve
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
    at_once: int = 1
    """Batches that may be computed at the same time; one where the listener is the model with its adapter off."""


def load_judge(wanted: Wanted) -> Loaded:
    """Load what is asked for.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no model that can judge, or the options contradict each other.
    """
    _check_ranges(wanted)
    device = find_device(wanted.device)
    dtype = find_dtype(wanted.dtype, device)
    if wanted.load_in_4bit:
        _check_four_bits(wanted, device, dtype)
    if wanted.listener is not None:
        resolve(wanted.listener)  # is it there? It is loaded when it is first asked
    trained = find_trained(
        _expanded(wanted.model),
        wanted.adapter and _expanded(wanted.adapter),
        Options(
            device=device,
            dtype=dtype,
            load_in_4bit=wanted.load_in_4bit,
            max_pixels=wanted.max_pixels,
            trust_remote_code=wanted.trust_remote_code,
            task=wanted.task,
            listener=wanted.listener,
        ),
    )
    model, card = trained.model, trained.card
    model.policy.requires_grad_(False)
    model.policy.to(device)
    thinker = Thinker(
        policy=model.policy,
        reader=model.reader,
        task=card.task,
        label_ids=label_token_ids(model.reader.tokenizer, card.task.labels),
        sampling=Sampling(
            card.max_new_tokens if wanted.max_new_tokens is None else wanted.max_new_tokens,
            card.temperature if wanted.temperature is None else wanted.temperature,
        ),
        engine=GroupedRollout(),
        image_cache=ImageCache(),
    )
    return Loaded(thinker, _ear_of(trained, thinker), 1 if _switches(trained) else batches_at_once(device))


def _switches(trained: Trained) -> bool:
    """Whether the listener is the model itself with its adapter off: nothing else may be computed meanwhile."""
    return trained.model.reference is not None and (trained.listener is None or trained.listener.reads_reference)


def _ear_of(trained: Trained, thinker: Thinker) -> Callable[[], Ear] | None:
    """Loads the listener, when it is called."""
    listener = trained.listener
    if listener is None:
        return None

    def make_ear() -> Ear:
        listener.prepare(thinker.task, thinker.reader.tokenizer)
        listener.requires_grad_(False)
        reference = trained.model.reference if listener.reads_reference else None
        return Ear(listener.to(thinker.policy.device), reference, trained.model.shares_vision)

    return make_ear


def find_device(name: str) -> torch.device:
    """The device that is meant.

    Raises:
        ValueError: there is no such device, or not on this machine.
    """
    there = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count())), *(["mps"] if _has_mps() else [])]
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu"
    if name == "cuda" and torch.cuda.is_available():
        name = f"cuda:{torch.cuda.current_device()}"
    if name.split(":")[0] in ("cuda", "mps") and name not in there:
        raise ValueError(f"device: {name} is not there: this machine has {there}")
    if name not in there:
        kinds = ("auto", "cpu", "cuda", "cuda:0", "mps")
        raise ValueError(f"device: expected one of {kinds}, got {name!r}; this machine has {there}")
    return torch.device(name)


def find_dtype(name: str, device: torch.device) -> DTypeName:
    """The number format that is meant.

    Raises:
        ValueError: there is no such format.
    """
    if name == "auto":
        return "float32" if device.type == "cpu" else "bfloat16"
    for known in get_args(DTypeName):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise ValueError(f"dtype: expected auto or one of {get_args(DTypeName)}, got {name!r}")


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _check_ranges(wanted: Wanted) -> None:
    for option in ("max_new_tokens", "max_pixels"):
        value = getattr(wanted, option)
        if value is not None and value < 1:
            raise ValueError(f"{option}: expected at least 1, got {value}")
    if wanted.temperature is not None and not 0 < wanted.temperature < math.inf:
        raise ValueError(f"temperature: expected a finite number above 0, got {wanted.temperature}")


def _check_four_bits(wanted: Wanted, device: torch.device, dtype: DTypeName) -> None:
    if device.type == "mps":
        raise ValueError("load_in_4bit: 4-bit weights are computed on CUDA and CPU; drop it, or name device cpu")
    if device.type == "cpu" and dtype == "float16":
        raise ValueError(
            "load_in_4bit: on a CPU 4-bit weights are computed in float32 or bfloat16, got dtype float16; leave dtype "
            "out, or name one of them"
        )
    if is_untrained(wanted.model):
        raise ValueError(f"load_in_4bit: {wanted.model} has no weights on disk that could be read into 4 bits")


def _expanded(name: str) -> str:
    return str(Path(name).expanduser()) if name.startswith("~") else name
