"""The README of an exported model: what it is, how it is loaded, what it was trained on and what was measured."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCardData

from lit_listener.vlm.specs import BUNDLED, on_this_machine


@dataclass(frozen=True)
class Row:
    """A row of a run's metrics."""

    step: int
    values: dict[str, float]


@dataclass(frozen=True)
class Measured:
    """What a run had measured last when a checkpoint was made; None for what it had not."""

    training: Row | None
    validation: Row | None


def read_measured(metrics: Path, batches: int | None) -> Measured:
    """The last training row and the last row with ``val/*`` of a run's ``metrics.csv``.

    Args:
        metrics: the file; it may be missing.
        batches: batches trained on when the checkpoint was made: later rows are left out; None for all rows.
    """
    if not metrics.is_file():
        return Measured(None, None)
    training = validation = None
    with metrics.open(newline="") as file:
        for cells in csv.DictReader(file):
            row = _row(cells)
            if row is None or (batches is not None and row.step >= batches):  # a row's step counts from 0
                continue
            judged = {name: value for name, value in row.values.items() if name.startswith("val/")}
            trained = {name: value for name, value in row.values.items() if name not in judged and name != "epoch"}
            validation = Row(row.step, judged) if judged else validation
            training = Row(row.step, trained) if trained else training
    return Measured(training, validation)


def model_card(
    config: Mapping[str, Any],
    measured: Measured,
    *,
    kind: str,
    is_adapter: bool,
    name: str,
    steps: int | None,
    scores: bool = False,
) -> str:
    """The text of README.md.

    Args:
        config: the run's config.
        measured: what the run had measured last.
        kind: what the weights are, such as "a LoRA adapter, float32".
        is_adapter: whether they are an adapter, and need their base.
        name: the folder or hub id that the example loads.
        steps: optimizer steps made; None where that is not known.
        scores: whether it is a reward model, which writes nothing and gives each image a score.
    """
    model = config["model"]
    options = model["init_args"]
    base = told_base(options["policy"]["base"])
    start = options["policy"].get("start")
    origin = base if start is None else f"{base} (starting at {told_base(start)})"
    trained_by = str(model["class_path"]).rsplit(".", maxsplit=1)[-1]
    way = "reward-model" if scores else "grpo" if "GRPO" in trained_by else "sft"
    tags = ["lit-listener", way, "preference", "vision-language"]
    front = ModelCardData(
        base_model=_listed_base(options["policy"]["base"]),
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="image-text-to-text",
        tags=[*tags, "lora"] if is_adapter else tags,
    )
    go_on = "`policy.start`" + (" with the same `policy.lora`" if is_adapter else "")
    after = "" if steps is None else f" for {steps} optimizer steps"
    return f"""---
{front.to_yaml()}
---

# {name.rsplit("/", maxsplit=1)[-1]}

{_REWARD if scores else _REASONER}

- trained from: {origin}
- trained by: lit_listener, {trained_by}{after}
- weights: {kind}

The licence of what it was trained from holds for it too.

## How to load it

```python
{_example(name, is_adapter)}
```

{_used_as(name, scores)}
To go on training, name this folder as {go_on}.

## Training data

```yaml
{_yaml({name: source for name, source in config["data"].items() if name in ("train", "traces") and source})}
```

## Metrics

{_metrics(measured)}
## Config

Absolute paths are cut to their last part.

```yaml
{_yaml(config)}
```
"""


_REASONER = "A vision-language reasoner that is shown a question about images, thinks aloud and answers."
_REWARD = (
    "A reward model: a vision-language model with a linear head on the last token, which gives an image and its prompt "
    "a score. Differences of scores count: sigmoid of one is the probability that people prefer the image."
)


def _used_as(name: str, scores: bool) -> str:
    if scores:
        return f"""As a reward model, which reads images as in training (`reward.json` says how; the head is
`head.safetensors`, on the last hidden state of the last token):

```python
from lit_listener import RewardModel

model = RewardModel.load("{name}")
print(model.score("what the images were made from", ["a.png", "b.png"]))
```
"""
    return f"""As a judge, which asks as in training (`judge.json` says how):

```python
from lit_listener import Judge

judge = Judge.load("{name}")
print(judge.compare("what the images were made from", "a.png", "b.png").p_a)
```
"""


def told_base(base: str) -> str:
    """A base as others are told of it: a bundled model's name, a hub id, or the last part of a folder's path."""
    if base in BUNDLED:
        return f"the bundled model {base}"
    return f"a model folder, {Path(base).name}" if on_this_machine(base) else base


def _listed_base(base: str) -> str | None:
    return None if on_this_machine(base) else base


def _example(name: str, is_adapter: bool) -> str:
    peft = "from peft import PeftConfig, PeftModel\n" if is_adapter else ""
    load = (
        f"""base = PeftConfig.from_pretrained("{name}").base_model_name_or_path
model = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base, dtype="auto"), "{name}")"""
        if is_adapter
        else f'model = AutoModelForImageTextToText.from_pretrained("{name}", dtype="auto")'
    )
    return f"""{peft}from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

{load}
tokenizer = AutoTokenizer.from_pretrained("{name}")
image_processor = AutoImageProcessor.from_pretrained("{name}", backend="pil")"""


def _metrics(measured: Measured) -> str:
    if measured.training is None and measured.validation is None:
        return "The run left no metrics up to this checkpoint.\n"
    parts = [
        _table("Validation", measured.validation)
        if measured.validation
        else "The run had not been validated up to this checkpoint.\n",
        _table("Training", measured.training) if measured.training else "No training step had been logged.\n",
    ]
    return "\n".join(parts)


def _table(title: str, row: Row) -> str:
    lines = [f"| {name} | {value:.4g} |" for name, value in sorted(row.values.items())]
    return "\n".join(
        [
            f"{title}, last measured at step {row.step} (batches, from 0):",
            "",
            "| metric | value |",
            "|---|---|",
            *lines,
            "",
        ]
    )


def _row(cells: Mapping[str, str | None]) -> Row | None:
    """What was measured (nan marks what could not be); None for a line that was torn off."""
    try:
        values = {name: float(cell) for name, cell in cells.items() if name and cell}
        step = int(values.pop("step"))
        return Row(step, {name: value for name, value in values.items() if not math.isnan(value)})
    except (KeyError, ValueError, TypeError):
        return None


def _yaml(content: Any) -> str:
    return yaml.safe_dump(_without_paths(content), sort_keys=False, allow_unicode=True, width=110).rstrip()


def _without_paths(content: Any) -> Any:
    """A copy whose absolute paths are cut to their last part: a machine's folders are nobody else's concern."""
    if isinstance(content, Mapping):
        return {key: _without_paths(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_paths(value) for value in content]
    if isinstance(content, str) and content.startswith(("/", "~/")) and "\n" not in content:
        return Path(content).name
    return content
