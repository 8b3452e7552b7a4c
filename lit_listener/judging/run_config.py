"""What the config of a training run says of its policy: which model it is, how it is asked, and who listened to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

from lit_listener.judging.card import card_text
from lit_listener.tasks import PairwisePreference, RewardQuestion, Task
from lit_listener.vlm.listeners import Listener, ReferenceListener
from lit_listener.vlm.rollout import Sampling
from lit_listener.vlm.specs import PolicySpec, ReferenceName, is_untrained, on_this_machine

_MODEL_LISTENER = "ModelListener"
_REFERENCE_HEARS = (None, "ReferenceListener", "RandomListener", "ShuffledListener")
"""Listeners in whose place the reference hears where nothing is trained."""


@dataclass(frozen=True)
class RunConfig:
    """A run's config, and the folder of the run."""

    content: Mapping[str, Any]
    folder: Path
    path: Path

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of the training module."""
        options: Mapping[str, Any] = self.content["model"]["init_args"]
        return options


@dataclass(frozen=True)
class AskedPolicy:
    """How the policy of a run is asked, as objects."""

    task: Task
    sampling: Sampling
    reference: ReferenceName
    listener: Listener
    """Who listens where nothing is trained; it has loaded nothing yet."""


def read_run_config(checkpoint: Path, config_file: Path | None = None) -> RunConfig:
    """A checkpoint's config.

    Args:
        checkpoint: a checkpoint in the ``checkpoints`` of its run's folder.
        config_file: the config, where it is kept elsewhere.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no config of a training run.
    """
    run = checkpoint.absolute().parent.parent
    path = config_file or run / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"no config at {path}: a checkpoint is read with the config.yaml of its run, which stands beside the "
            "folder checkpoints/"
        )
    try:
        config = yaml.safe_load(path.read_text())
        config["model"]["init_args"]["policy"]["base"], config["data"]["train"]  # are they there?
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no config of a run that trains a reasoner ({error!r})") from error
    return RunConfig(config, run if config_file is None else config_file.absolute().parent, path)


def policy_spec(config: RunConfig) -> PolicySpec:
    """Which policy a run trained.

    Raises:
        ValueError: the config cannot be read.
    """
    spec: PolicySpec = _built(config, policy=PolicySpec)["policy"]
    return spec


def asked_policy(config: RunConfig, *, task: Task | None = None) -> AskedPolicy:
    """How a run's policy is asked. The classes that the config names are imported: it is the user's own run.

    Args:
        config: the run's.
        task: asks in place of the run's own, which is then left alone.

    Raises:
        ValueError: the config cannot be read, or names a class that cannot be imported.
    """
    kinds: dict[str, Any] = {"sampling": Sampling, "reference": ReferenceName, "listener": Listener}
    built = _built(config, **kinds, **({} if task else {"task": Task}))
    listener = built.get("listener") or ReferenceListener()
    return AskedPolicy(
        task=task or built.get("task") or PairwisePreference(),
        sampling=built.get("sampling") or Sampling(),
        reference=built.get("reference") or "base",
        listener=listener.in_evaluation,
    )


def asked_question(config: RunConfig) -> RewardQuestion:
    """How images are put before a run's reward model.

    Raises:
        ValueError: the config cannot be read, or names a class that cannot be imported.
    """
    question: RewardQuestion | None = _built(config, question=RewardQuestion).get("question")
    return question or RewardQuestion()


def card_of_run(config: RunConfig, *, tells_folders: bool) -> str:
    """The ``judge.json`` of the model that a run trained.

    Args:
        config: the run's.
        tells_folders: whether a listener may be told by its folder on this machine; else it is left out then.
    """
    options = config.options
    sampling = {"max_new_tokens": Sampling().max_new_tokens, "temperature": Sampling().temperature}
    sampling |= {name: value for name, value in (options.get("sampling") or {}).items() if name in sampling}
    name, context = _listener(options)
    if name is not None and on_this_machine(name):
        name = str(Path(name).expanduser().absolute()) if tells_folders else None
    task = options.get("task") or {"class_path": "lit_listener.tasks.PairwisePreference"}
    return card_text(task, **sampling, listener=name, listener_context=context)


def _listener(options: Mapping[str, Any]) -> tuple[str | None, str]:
    """The model that listened in a run, if a name leads to it, and in which context it heard."""
    policy, given = options["policy"], options.get("listener") or {}
    kind = given.get("class_path")
    kind = kind and str(kind).rpartition(".")[2]
    told = given.get("init_args") or {}
    if kind == _MODEL_LISTENER and told.get("model"):
        return told["model"], told.get("context") or "own"
    starts = options.get("reference") == "start" and policy.get("start")
    name = policy["start"] if starts else policy["base"]
    # an adapter is no model, and new weights have none on disk
    known = kind in _REFERENCE_HEARS and not (starts and policy.get("lora")) and not is_untrained(name)
    return (name if known else None), "reasoner"


def _built(config: RunConfig, **kinds: Any) -> dict[str, Any]:
    """Options of the training module as objects, those that are given."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    given = {name: config.options[name] for name in kinds if config.options.get(name) is not None}
    for name in given:
        parser.add_argument(f"--{name}", type=kinds[name])
    try:
        parsed = parser.parse_object(given)
        instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes  # by its name before 4.49
        built: dict[str, Any] = vars(instantiate(parsed))
    except jsonargparse.ArgumentError as error:
        raise ValueError(f"{config.path}: its model cannot be read: {error}") from error
    return built
