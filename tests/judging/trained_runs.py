"""Tiny runs of every kind that a judge is loaded from, made by the command line like any other."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image

from lit_listener import Judge
from lit_listener.__main__ import main
from lit_listener.data.shapes import ShapesPairs
from lit_listener.judging.listening import Ear
from lit_listener.judging.loading import Loaded
from lit_listener.judging.results import Comparison
from lit_listener.judging.run_config import asked_policy, policy_spec, read_run_config
from lit_listener.training import ListenerGRPO
from lit_listener.vlm.passes import at_once

TEMPLATE = "{prompt}. first {image_0} second {image_1} Which is better, 0 or 1?"
TASK = {"class_path": "lit_listener.tasks.PairwisePreference", "init_args": {"system": None, "template": TEMPLATE}}
LENGTH = 24
TEMPERATURE = 1.5


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"

    def judge(self, **policy: Any) -> Judge:
        """The training module with the checkpoint's weights, by Lightning's own way, asked as a judge is."""
        config = read_run_config(self.checkpoint)
        asked = asked_policy(config)
        module: Any = ListenerGRPO(
            policy=replace(policy_spec(config), **policy),
            task=asked.task,
            sampling=asked.sampling,
            reference=asked.reference,
        )
        module.configure_model()
        weights = torch.load(self.checkpoint, weights_only=True)["state_dict"]
        assert module.load_state_dict(weights, strict=False).unexpected_keys == []
        thinker = replace(module.thinker, passes=at_once, rollout_passes=at_once)
        return Judge(
            Loaded(thinker, lambda: Ear(module.listener, module.models.reference, module.shares_vision)), "module"
        )


def fit(folder: Path, kind: str, *, export: bool = False, **model: Any) -> Run:
    """Train two steps, far enough that the model shows it."""
    policy = {"base": "shapes-instruct", **model.pop("policy", {})}
    source = {"class_path": "lit_listener.data.shapes.ShapesPairs", "init_args": {"renderers": ["flat"], "size": 4}}
    traces = {"class_path": "lit_listener.data.shapes.ShapesTraces", "init_args": {"mix": {"thorough": 1.0}}}
    options = {
        "policy": policy,
        "task": TASK,
        "sampling": {"max_new_tokens": LENGTH, "temperature": TEMPERATURE},
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.002}},
        **model,
    }
    config = {
        "trainer": {"max_steps": 2, "accelerator": "cpu", "enable_progress_bar": False, "num_sanity_val_steps": 0},
        "model": {"class_path": f"lit_listener.training.{kind}", "init_args": options},
        "data": {"train": source, "batch_size": 2, **({"traces": traces} if kind == "TraceSFT" else {})},
        "samples": {"every_n_steps": 0},
        "export": {"folder": "model", "dtype": "float32"} if export else {},
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(path), "--run_dir", str(folder)]) in (None, 0)
    return Run(folder)


def pair() -> tuple[str, Image.Image, Image.Image]:
    """Two images of one prompt."""
    found = ShapesPairs(["flat", "paper"], 4, "test")[1]
    return found.prompt, found.image_a, found.image_b


def compared(judge: Judge, **options: Any) -> Comparison:
    """One comparison by a judge."""
    return judge.compare(*pair(), **options)


def apart(one: Comparison, other: Comparison) -> float:
    """How far two judges' numbers are apart, the listener's too."""
    gaps = [abs(one.p_a - other.p_a)]
    for mine, theirs in zip(one.traces, other.traces, strict=True):
        gaps.append(abs(mine.p_a - theirs.p_a))
        assert (mine.listener_p_a is None) == (theirs.listener_p_a is None)
        if mine.listener_p_a is not None and theirs.listener_p_a is not None:
            gaps.append(abs(mine.listener_p_a - theirs.listener_p_a))
    return max(gaps)
