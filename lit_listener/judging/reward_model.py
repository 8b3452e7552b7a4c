"""A reward model with a scalar head: each image gets a score of its own, from one pass, with no thought and no anchor.

It has the methods of ``Judge`` that need no more of a ranking than its scores. A score has no unit and no zero:
differences count, within a prompt and, as far as training saw to it, between prompts. The probability that one image is
preferred to another is sigmoid of their difference (Bradley-Terry).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from lit_listener.judging.anchors import Anchor
from lit_listener.judging.hub import find_file
from lit_listener.judging.loading import find_device, find_dtype
from lit_listener.judging.many import parts
from lit_listener.judging.pictures import ImageLike, picture
from lit_listener.judging.results import Scored
from lit_listener.judging.rewards import RewardFunction, read_batch
from lit_listener.judging.run_config import asked_question, policy_spec, read_run_config
from lit_listener.judging.scores import Scores
from lit_listener.judging.weights import Options
from lit_listener.tasks.reward_question import RewardQuestion
from lit_listener.vlm.adapters import read_adapter
from lit_listener.vlm.image_cache import ImageCache
from lit_listener.vlm.passes import Done, Pass, cut_passes
from lit_listener.vlm.reward_backbone import LoadedReward, Rater, load_reward
from lit_listener.vlm.reward_files import REWARD_CARD, has_head, read_head, read_reward_card, restore_reward
from lit_listener.vlm.specs import BUNDLED, PolicySpec
from lit_listener.vlm.trained_weights import find_checkpoint, is_checkpoint, read_trained_weights

_TOKENS = {"cpu": 1536}
_TOKENS_ELSEWHERE = 16_384
_IMAGES = 64
"""Images that are encoded at once."""


@dataclass(frozen=True)
class ScoredImages(Scored):
    """Scores of images for one prompt."""

    prompt: str
    scores: tuple[float, ...]
    """Each image's score; higher is better."""

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {
            "prompt": self.prompt,
            "scores": list(self.scores),
            "order": list(self.order),
            "ranks": list(self.ranks),
        }


class RewardModel(Scores):
    """Scores images for a prompt. ``RewardModel.load`` makes one.

    Args:
        loaded: its weights.
        question: how an image is put before it.
        name: what it is called.
    """

    def __init__(self, loaded: LoadedReward, question: RewardQuestion, name: str) -> None:
        self.name = name
        loaded.policy.eval().requires_grad_(False)
        tokens = _TOKENS.get(loaded.policy.device.type, _TOKENS_ELSEWHERE)
        self._rater = Rater(loaded.policy, loaded.reader, question, ImageCache(), _Passes(tokens))

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        load_in_4bit: bool = False,
        max_pixels: int | None = None,
        trust_remote_code: bool = False,
    ) -> "RewardModel":
        """Load a reward model.

        Args:
            model: the folder of a run, a checkpoint, an exported folder (full weights or an adapter), or a hub id.
            device: auto (CUDA, else MPS, else CPU), or a device or its name, such as cuda:1.
            dtype: number format of the weights: auto (bfloat16 on a GPU, float32 on a CPU), float32, bfloat16, float16;
                the head is float32.
            load_in_4bit: read the language model's linear layers of an adapter's base into 4 bits (NF4).
            max_pixels: images of more pixels are scaled down to so many.
            trust_remote_code: run code that a hub repository brings along.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: it is no reward model, or options contradict each other.
        """
        name = str(model)
        place = find_device(device)
        options = Options(place, find_dtype(str(dtype), place), load_in_4bit, max_pixels, trust_remote_code)
        path = Path(name).expanduser()
        if name not in BUNDLED and is_checkpoint(path):
            loaded, question = _of_checkpoint(find_checkpoint(path), options)
        else:
            loaded, question = _of_folder(name, options)
        loaded.policy.to(place)
        return cls(loaded, question, name)

    def __repr__(self) -> str:
        return f"RewardModel({self.name!r}, device={str(self._rater.policy.device)!r})"

    def rank(self, prompt: str, images: Iterable[ImageLike]) -> ScoredImages:
        """Score images for a prompt; N images take N passes, and no image is compared with another.

        Args:
            prompt: what the images were made from.
            images: PIL images, paths, ``numpy`` HWC uint8 or ``torch`` CHW float in [0, 1].

        Raises:
            FileNotFoundError: an image file is not there.
            ValueError: no images, or an image or prompt that cannot be used.
        """
        (ranking,) = self.rank_many([(prompt, list(images))])
        return ranking

    def rank_many(self, lists: Iterable[tuple[str, Sequence[ImageLike]]]) -> list[ScoredImages]:
        """Score many lists of images, batched across prompts; the same results as one by one.

        Args:
            lists: (prompt, images) each.
        """
        asked = [parts(each, "(prompt, images)", 2) for each in lists]
        flat: list[tuple[str, Image.Image]] = []
        for prompt, images in asked:
            if not isinstance(prompt, str) or not prompt.strip():
                raise ValueError(f"prompt: expected the text that the images were made from, got {prompt!r}")
            if not images:
                raise ValueError("images: expected at least one image, got none")
            flat += [(prompt, picture(image, f"images[{place}]").image) for place, image in enumerate(images)]
        scores = iter(self._scores(flat))
        return [ScoredImages(prompt, tuple(next(scores) for _ in images)) for prompt, images in asked]

    def reward_fn(self) -> RewardFunction:
        """A reward function in the shape that flow_grpo calls: ``fn(images, prompts, metadata) -> (scores, {})``."""

        def reward(images: Any, prompts: Sequence[str], metadata: Any = None) -> tuple[list[float], dict[str, Any]]:
            pictures, prompts = read_batch(images, prompts)
            return self._scores([(prompt, each.image) for prompt, each in zip(prompts, pictures, strict=True)]), {}

        return reward

    def _scored(self, prompt: str, images: Iterable[ImageLike], anchor: Anchor = None, **options: Any) -> ScoredImages:
        if anchor is not None or options:
            unknown = ["anchor"] if anchor is not None else sorted(options)
            raise ValueError(f"{unknown[0]}: a reward model scores each image by itself; leave it out")
        return self.rank(prompt, images)

    def _scores(self, images: Sequence[tuple[str, Image.Image]]) -> list[float]:
        starts = range(0, len(images), _IMAGES)
        return [score for at in starts for score in self._rater.scores(images[at : at + _IMAGES]).tolist()]


@dataclass(frozen=True)
class _Passes:
    """Passes of at most so many tokens."""

    tokens: int

    def __call__(
        self,
        work: Callable[[Sequence[Pass]], Done],
        prompt_lengths_P: Sequence[int],
        completion_lengths_N: Sequence[int],
    ) -> Done:
        return work(cut_passes(prompt_lengths_P, completion_lengths_N, self.tokens))


def is_reward_model(name: str) -> bool:
    """Whether a name leads to a folder, run or checkpoint of a reward model.

    Raises:
        FileNotFoundError: there is no such thing.
        ValueError: a checkpoint that cannot be read.
    """
    path = Path(name).expanduser()
    if name not in BUNDLED and is_checkpoint(path):
        return has_head(read_trained_weights(find_checkpoint(path)).of_names)
    return find_file(name, REWARD_CARD) is not None


def _of_checkpoint(checkpoint: Path, options: Options) -> tuple[LoadedReward, RewardQuestion]:
    config = read_run_config(checkpoint)
    weights = read_trained_weights(checkpoint).of_names
    if not has_head(weights):
        raise ValueError(f"{checkpoint} is no reward model: it has no head; load it with Judge.load")
    return restore_reward(options.of(policy_spec(config)), weights, options.device), asked_question(config)


def _of_folder(name: str, options: Options) -> tuple[LoadedReward, RewardQuestion]:
    card = find_file(name, REWARD_CARD)
    if card is None:
        raise ValueError(f"{name} is no reward model: it has no {REWARD_CARD}; load it with Judge.load")
    folder = card.parent if Path(name).expanduser().is_dir() else _fetched(name)
    spec = PolicySpec(str(folder))
    if (folder / "adapter_config.json").is_file():
        saved = read_adapter(folder)
        if saved.base is None:
            raise ValueError(f"the adapter {name} names no base; merge it: python -m lit_listener export --merge")
        spec = PolicySpec(saved.base, str(folder), saved.lora, saved.on_vision, max_pixels=saved.max_pixels)
    elif options.load_in_4bit:
        raise ValueError(f"load_in_4bit: {name} has full weights; only an adapter's base is read into 4 bits")
    loaded = load_reward(replace(options.of(spec), quantization="nf4" if options.load_in_4bit else None))
    read_head(folder, loaded.policy)
    return loaded, read_reward_card(card)


def _fetched(name: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415  # a folder here needs no hub

    return Path(snapshot_download(name))
