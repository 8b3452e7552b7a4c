"""What a run asks for: which weights a reasoner starts from, and which of them train. ``loading`` does it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ASSETS = Path(__file__).parent.parent / "assets"
BUNDLED = {
    "shapes-blank": ASSETS / "shapes_blank",
    "shapes-blank-other": ASSETS / "shapes_blank_other",
    "shapes-instruct": ASSETS / "shapes_instruct",
    "shapes-warm-start": ASSETS / "shapes_warm_start",
    "shapes-witness": ASSETS / "shapes_witness",
    "shapes-rater": ASSETS / "shapes_rater",
    "shapes": ASSETS / "shapes_judge",
}
"""Names of the bundled models: two untrained ones (the other of another architecture and size), the consistent instruct
model, the mixed-habit start, a second instruct model that takes no part in training, one that rates single images, and
the judge that the demo trains."""
_UNTRAINED = ("shapes-blank", "shapes-blank-other")

DTypeName = Literal["float32", "bfloat16", "float16"]
QuantizationName = Literal["nf4"]
ReferenceName = Literal["base", "start"]


@dataclass(frozen=True)
class LoraSpec:
    """Low-rank adapters on linear layers (dropout is always 0: it would falsify policy ratios).

    They go on the language model's layers, and with ``train_vision`` on the vision tower's too.

    Args:
        rank: rank of the adapters; at least 1.
        alpha: scale: an update is multiplied by alpha / rank.
    """

    rank: int = 16
    alpha: float = 32.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"policy.lora.rank: expected at least 1, got {self.rank}")


@dataclass(frozen=True)
class PolicySpec:
    """Which weights the reasoner starts from, and which of them train.

    Args:
        base: a Hugging Face folder or hub id, or a bundled model: shapes-blank, shapes-blank-other, shapes-instruct,
            shapes-warm-start, shapes-witness, shapes-rater, shapes.
        start: weights the policy starts from instead of the base: a model folder, or with lora an adapter folder.
        lora: train adapters instead of all weights.
        train_vision: train the vision tower too (with lora: adapters on its linear layers); when false, images are
            encoded once a step for all passes.
        dtype: number format of the weights; adapters are float32 whatever it is, and so are the embeddings, norms and
            output matrix beside 4-bit weights.
        quantization: nf4 reads the language model's linear layers into 4 bits (NF4, double quantisation), computed in
            dtype; needs lora to train. The vision tower stays as it is; norms, embeddings and output matrix become
            float32.
        attention: how packed rows are attended to: sdpa (PyTorch's fused attention, everywhere) or flex (FlexAttention
            with block masks, compiled on CUDA); both give the same.
        max_pixels: images of more pixels (width x height) are scaled down to so many before they are encoded; null
            keeps the model's own bound. An image takes a token for every 28 x 28 pixels (Qwen3-VL: 32 x 32).
        gradient_checkpointing: recompute layers in the backward pass: less memory, more time.
        init_seed: seed of new weights (a blank base, fresh adapters).
        trust_remote_code: run code that a hub repository brings along.
    """

    base: str
    start: str | None = None
    lora: LoraSpec | None = None
    train_vision: bool = False
    dtype: DTypeName = "float32"
    quantization: QuantizationName | None = None
    attention: Literal["sdpa", "flex"] = "sdpa"
    max_pixels: int | None = None
    gradient_checkpointing: bool = False
    init_seed: int = 0
    trust_remote_code: bool = False


def is_untrained(name: str) -> bool:
    """Whether a model has a config and no weights on disk: it starts from new ones, drawn by seed."""
    return name in _UNTRAINED


def resolve(name: str) -> str:
    """The folder of a bundled model or a local folder as it is; anything else is taken for a hub id.

    Raises:
        FileNotFoundError: a path (absolute, beginning with a dot, or into a folder of runs) leads nowhere.
    """
    if name in BUNDLED:
        return str(BUNDLED[name])
    if Path(name).is_dir():
        return name
    if _is_path(name):
        beside = _runs_beside(name)
        there = f"; {Path(name).parent} holds {', '.join(beside)}" if beside else ""
        raise FileNotFoundError(
            f"no model folder at {name!r}: expected a folder with config.json, a hub id (owner/name), or one of "
            f"{sorted(BUNDLED)}{there}"
        )
    return name


def on_this_machine(name: str) -> bool:
    """Whether a name leads to a folder (there or not) rather than to a bundled model or the hub."""
    return name not in BUNDLED and (Path(name).is_dir() or _is_path(name))


def _is_path(name: str) -> bool:
    """Whether a name is no hub id: "runs/frist" is none either, where runs/first is a run."""
    return name.startswith((".", "/", "~")) or name.count("/") != 1 or bool(_runs_beside(name))


def _runs_beside(name: str) -> list[str]:
    """The runs in the folder that a path leads into, by name."""
    folder = Path(name).expanduser().parent
    if folder == Path() or not folder.is_dir():
        return []
    return sorted(each.name for each in folder.iterdir() if any(each.glob("*config.yaml")))
