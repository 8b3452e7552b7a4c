"""The weights that a judge's name stands for, and what is known of how they are asked.

A model (bundled, folder or hub id), an adapter on its base, or the checkpoint of a run. A base is loaded once: where
the policy is an adapter on it, its reference, and so by default its listener, is the same model with the adapter off.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lit_listener.judging.card import CARD, JudgeCard, default_card, read_card
from lit_listener.judging.hub import adapter_folder, find_file, first_line, not_there
from lit_listener.judging.run_config import asked_policy, policy_spec, read_run_config
from lit_listener.tasks import Task
from lit_listener.vlm.adapters import ADAPTER_CONFIG, read_adapter
from lit_listener.vlm.listeners import Listener, ModelListener, NoListener, ReferenceListener
from lit_listener.vlm.loading import load_backbone
from lit_listener.vlm.restoring import Restored, restore, with_adapter
from lit_listener.vlm.reward_files import REWARD_CARD, has_head
from lit_listener.vlm.specs import BUNDLED, DTypeName, PolicySpec, is_untrained, on_this_machine, resolve
from lit_listener.vlm.trained_weights import find_checkpoint, is_checkpoint, read_trained_weights


@dataclass(frozen=True)
class Options:
    """How a model is to be loaded."""

    device: torch.device
    dtype: DTypeName
    load_in_4bit: bool = False
    max_pixels: int | None = None
    trust_remote_code: bool = False
    task: Task | None = None
    """Asks in place of the task that the model was trained with."""
    listener: str | None = None
    """A model that listens in place of the one that did in training."""

    def of(self, spec: PolicySpec) -> PolicySpec:
        """A policy's specification with these options in place of a training's."""
        return replace(
            spec,
            dtype=self.dtype,
            quantization="nf4" if self.load_in_4bit else None,
            attention="sdpa",
            gradient_checkpointing=False,
            max_pixels=self.max_pixels or spec.max_pixels,
            trust_remote_code=self.trust_remote_code or spec.trust_remote_code,
        )


@dataclass(frozen=True)
class Trained:
    """A model that can judge."""

    model: Restored
    card: JudgeCard
    listener: Listener | None
    """Who listens, with nothing loaded yet; None where that is not known."""


def find_trained(name: str, adapter: str | None, options: Options) -> Trained:
    """Load what a name stands for.

    Args:
        name: a bundled model, a folder, a hub id, a checkpoint, or the folder of a run.
        adapter: folder or hub id of an adapter on it.
        options: how.

    Raises:
        FileNotFoundError: there is no such thing.
        ValueError: it is no model that can judge, or the options do not go with it.
    """
    path = Path(name)
    if path.suffix == ".ckpt" and not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {name}; name one, or the folder of a run")
    is_run = name not in BUNDLED and is_checkpoint(path)
    if adapter is not None and (is_run or _is_adapter(name)):
        raise ValueError(
            f"adapter: {name} is {'a checkpoint' if is_run else 'an adapter'} itself; name the base that the adapter "
            f"{adapter} goes on, or leave adapter out"
        )
    if (path / REWARD_CARD).is_file():
        raise _scores_alone(name)
    if is_run:
        return _of_checkpoint(find_checkpoint(path), options)
    if adapter is not None:
        return _of_adapter(adapter, name, options)
    return _of_adapter(name, None, options) if _is_adapter(name) else _of_model(name, options)


def _of_model(name: str, options: Options) -> Trained:
    card = _card(name, options) or default_card(options.task)
    folder = Path(resolve(name))
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ValueError(
            f"{name} is no judge: it holds no config.json; expected a model folder (config.json), an adapter "
            f"({ADAPTER_CONFIG}), a checkpoint, or the folder of a run (config.yaml and checkpoints/)"
        )
    try:
        policy, reader = load_backbone(name, options.of(PolicySpec(name)), place=options.device)
    except OSError as error:
        if not folder.is_dir():
            raise not_there(name, error) from error
        raise ValueError(
            f"{name} is no whole model folder ({first_line(error)}); expected config.json, weights as safetensors, a "
            "tokenizer and preprocessor_config.json"
        ) from error
    return Trained(Restored(policy, reader), card, _listener(options, _named(card, options)))


def _of_adapter(adapter: str, base: str | None, options: Options) -> Trained:
    folder = adapter_folder(adapter)
    saved = read_adapter(folder)
    own = _card(str(folder), options)
    base = base or saved.base
    if base is None:
        raise ValueError(f"the adapter {adapter} names no base; name it: Judge.load(BASE, adapter={adapter!r})")
    spec = PolicySpec(base, str(folder), saved.lora, train_vision=saved.on_vision, max_pixels=saved.max_pixels)
    try:
        card = own or _card(base, options) or default_card(options.task)
        model = with_adapter(options.of(spec), "base", options.device)
    except OSError as error:
        raise FileNotFoundError(
            f"the base of the adapter {adapter} cannot be loaded: {first_line(error)}; name it yourself: "
            f"Judge.load(BASE, adapter={adapter!r})"
        ) from error
    is_base = _is_one_of(base, saved.base or base)
    heard = ReferenceListener() if own is None or _hears_base(own, is_base) else _named(own, options)
    return Trained(model, card, _listener(options, heard, is_base))


def _of_checkpoint(checkpoint: Path, options: Options) -> Trained:
    config = read_run_config(checkpoint)
    spec, asked = policy_spec(config), asked_policy(config, task=options.task)
    if options.load_in_4bit and spec.lora is None:
        raise ValueError(
            f"load_in_4bit: {checkpoint} is of a run that trained all weights, and only weights on disk are read into "
            f"4 bits: export it first, python -m lit_listener export --ckpt {checkpoint} --output FOLDER"
        )
    weights = read_trained_weights(checkpoint).of_names
    if has_head(weights):
        raise _scores_alone(str(checkpoint))
    try:
        model = restore(options.of(spec), weights, asked.reference, options.device)
    except ValueError as error:
        raise ValueError(f"{error} ({checkpoint} with {config.path})") from error
    reference = spec.start if asked.reference == "start" and spec.start else spec.base
    heard: Listener | None = None if isinstance(asked.listener, NoListener) else asked.listener
    if isinstance(heard, ReferenceListener) and model.reference is None:
        # new weights are in no file, and have nothing to say
        untrained = is_untrained(reference)
        heard = None if untrained else ModelListener(reference, context="reasoner", dtype=options.dtype)
    card = JudgeCard(asked.task, asked.sampling.max_new_tokens, asked.sampling.temperature)
    same = _is_one_of(reference) if model.reference is not None else _is_one_of()
    return Trained(model, card, _listener(options, heard, same))


def _scores_alone(name: str) -> ValueError:
    return ValueError(
        f"{name} is a reward model, which gives each image a score and neither compares nor thinks: load it with "
        "RewardModel.load, or rank with it: python -m lit_listener rank --model"
    )


def _card(name: str, options: Options) -> JudgeCard | None:
    path = find_file(name, CARD, matters=True)
    if path is None:
        return None
    return read_card(path.read_text(), str(path), task=options.task, imports=options.trust_remote_code)


def _is_adapter(name: str) -> bool:
    return find_file(name, ADAPTER_CONFIG) is not None


def _named(card: JudgeCard, options: Options) -> Listener | None:
    """The listener that a card names."""
    if card.listener is None:
        return None
    return ModelListener(card.listener, context=card.listener_context, dtype=options.dtype)


def _hears_base(card: JudgeCard, is_base: Callable[[str], bool]) -> bool:
    return card.listener is not None and card.listener_context == "reasoner" and is_base(card.listener)


def _listener(
    options: Options, known: Listener | None, is_reference: Callable[[str], bool] = lambda name: False
) -> Listener | None:
    """Who listens: the one that is asked for, else the one that is known.

    Args:
        options: may name a listener.
        known: who listened in training.
        is_reference: whether a name leads to the policy's reference, which is there already.
    """
    if options.listener is None:
        return known
    if is_reference(options.listener):
        return ReferenceListener()
    return ModelListener(options.listener, context="reasoner", dtype=options.dtype)


def _is_one_of(*names: str) -> Callable[[str], bool]:
    """Whether another name leads to the same model as one of these."""
    return lambda name: _place(name) in {_place(known) for known in names}


def _place(name: str) -> str:
    """A model's folder, or its hub id."""
    if name not in BUNDLED and not on_this_machine(name):
        return name
    return str(Path(BUNDLED.get(name, Path(name))).expanduser().resolve())
