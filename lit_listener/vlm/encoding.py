"""Questions become tensors: chat text, image patches, placeholder expansion and mrope positions.

Tokenizer and image processor are composed here by hand: ``AutoProcessor`` would need torchvision for its video half.
A prompt is never truncated, since that would cut image tokens; an over-long one is refused.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch
from PIL.Image import Image
from torch import Tensor

from lit_listener.tasks import Question
from lit_listener.vlm.token_bytes import TokenBytes


class PromptTooLongError(ValueError):
    """A prompt leaves no room for a completion within the model's context."""


@dataclass(frozen=True)
class TensorRecord:
    """A frozen record of tensors that moves between devices as one."""

    def to(self, device: torch.device | str) -> Self:
        """The same record with every tensor on ``device``."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return type(self)(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in moved.items()})


@dataclass(frozen=True)
class PromptBatch(TensorRecord):
    """P prompts, padded on the right to S tokens, and their images' patches."""

    input_ids_PS: Tensor
    mask_PS: Tensor
    """True at real tokens."""
    position_ids_3PS: Tensor
    """mrope positions: temporal, height, width."""
    next_position_P: Tensor
    """The position of the first completion token: highest position of the prompt + 1, not its length."""
    pixel_values_RC: Tensor
    """R patch rows of all images, in order; rows belong to images by ``image_grid_I3.prod(-1)``."""
    image_grid_I3: Tensor
    """Each image's patches over time, height and width."""
    images_P: Tensor
    """Number of images of each prompt."""

    def __len__(self) -> int:
        return self.input_ids_PS.shape[0]

    def select(self, prompts: slice) -> "PromptBatch":
        """Some of the prompts, with their images' patches (which are indexed by patch rows, not by prompts)."""
        images = self.images_of(prompts)
        rows_I = self.image_grid_I3.prod(-1)
        rows = slice(int(rows_I[: images.start].sum()), int(rows_I[: images.stop].sum()))
        return PromptBatch(
            input_ids_PS=self.input_ids_PS[prompts],
            mask_PS=self.mask_PS[prompts],
            position_ids_3PS=self.position_ids_3PS[:, prompts],
            next_position_P=self.next_position_P[prompts],
            pixel_values_RC=self.pixel_values_RC[rows],
            image_grid_I3=self.image_grid_I3[images],
            images_P=self.images_P[prompts],
        )

    def picked(self, places: Sequence[int]) -> "PromptBatch":
        """Prompts at these places, with their images' patches; one may be picked several times."""
        parts = [self.select(slice(place, place + 1)) for place in places]
        tensors = {f.name: [getattr(part, f.name) for part in parts] for f in fields(self)}
        along = {"position_ids_3PS": 1}
        return PromptBatch(**{name: torch.cat(each, along.get(name, 0)) for name, each in tensors.items()})

    def images_of(self, prompts: slice) -> slice:
        """The places of some prompts' images among all images."""
        start, stop, _ = prompts.indices(len(self))
        return slice(int(self.images_P[:start].sum()), int(self.images_P[:stop].sum()))

    def features_of(self, prompts: slice, features_MD: Tensor) -> Tensor:
        """Some of the prompts' rows of the features that all images were encoded into."""
        patches = max(1, len(self.pixel_values_RC) // max(1, len(features_MD)))  # that are merged into one row
        images, rows_I = self.images_of(prompts), self.image_grid_I3.prod(-1) // patches
        return features_MD[int(rows_I[: images.start].sum()) : int(rows_I[: images.stop].sum())]

    @property
    def lengths_P(self) -> Tensor:
        """Real tokens of each prompt."""
        return self.mask_PS.sum(1)


@dataclass(frozen=True)
class Vocabulary:
    """What sampling and scoring must know of a tokenizer and its model."""

    size: int
    """Real token ids are below this; the model's embedding may be padded beyond."""
    pad_id: int
    end_ids: tuple[int, ...]
    """Ids that end a completion."""
    suppressed_ids: Tensor
    """Ids never sampled, and left out of the training distribution alike: vision and video special tokens."""


class Encoder:
    """Turns questions into prompt batches for one model.

    Args:
        tokenizer: the model's tokenizer, with a chat template that has image slots.
        image_processor: the model's image processor (PIL backend).
        rope_index: the model's own ``get_rope_index``.
        config: the model's configuration.

    Raises:
        ValueError: the tokenizer has no chat template, or the image processor cuts other patches than the model reads.
    """

    def __init__(
        self, tokenizer: Any, image_processor: Any, rope_index: Callable[..., tuple[Tensor, Tensor]], config: Any
    ) -> None:
        if not tokenizer.chat_template:
            raise ValueError(
                f"the tokenizer of {tokenizer.name_or_path!r} has no chat template: an instruct model is needed"
            )
        _check_patches(image_processor, config.vision_config)
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.context_tokens: int = config.get_text_config().max_position_embeddings
        self._tokenizing = threading.Lock()
        self._rope_index = rope_index
        self._image_id: int = config.image_token_id
        self._image_token: str = tokenizer.convert_ids_to_tokens(config.image_token_id)

    def encode(
        self, questions: Sequence[Question], *, room: int = 0, begun: Sequence[Sequence[int]] | None = None
    ) -> PromptBatch:
        """Encode P questions.

        Args:
            questions: the questions; each may have another number and size of images.
            room: tokens that must remain free in the context for a completion.
            begun: token ids with which each reply begins already, as a part of the prompt.

        Raises:
            PromptTooLongError: a prompt and its completion would not fit the model's context.
        """
        pixel_values_RC, grid_I3 = self._patches([image for question in questions for image in question.images])
        tokens_I = (grid_I3.prod(-1) // self.image_processor.merge_size**2).tolist()
        rows: list[list[int]] = []
        taken = 0
        for question, reply in zip(questions, begun or [()] * len(questions), strict=True):
            count = len(question.images)
            rows.append([*self._tokenize(question, tokens_I[taken : taken + count], room + len(reply)), *reply])
            taken += count
        images_P = torch.tensor([len(question.images) for question in questions])
        return self._pad(rows, pixel_values_RC, grid_I3, images_P)

    def encode_text(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of plain text, with no special tokens added.

        Args:
            text: the text.
            special: take special tokens that the text spells out for what they are; when false (for text that a model
                wrote), they are read letter by letter.
        """
        with self._tokenizing:  # how special tokens are read is the tokenizer's own state, set anew by each call
            return list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not special))

    def _patches(self, images: Sequence[Image]) -> tuple[Tensor, Tensor]:
        """Patch rows and grids of images; one that several questions show is cut once."""
        distinct = {id(image): image for image in images}
        cut = self.image_processor(images=[image.convert("RGB") for image in distinct.values()], return_tensors="pt")
        place_of = {name: place for place, name in enumerate(distinct)}
        places = [place_of[id(image)] for image in images]
        grid_I3 = cut["image_grid_thw"]
        rows = cut["pixel_values"].split(grid_I3.prod(-1).tolist())
        return torch.cat([rows[place] for place in places]), grid_I3[places]

    def _tokenize(self, question: Question, image_tokens: Sequence[int], room: int) -> list[int]:
        text = self.tokenizer.apply_chat_template(list(question.messages), tokenize=False, add_generation_prompt=True)
        pieces = text.split(self._image_token)
        if len(pieces) != len(image_tokens) + 1:
            raise ValueError(
                f"the chat template made {len(pieces) - 1} image slots for {len(image_tokens)} images; "
                "expected one slot an image: check the template of the tokenizer"
            )
        slots = [self._image_token * tokens for tokens in image_tokens] + [""]
        ids = self.encode_text("".join(piece + slot for piece, slot in zip(pieces, slots, strict=True)))
        if len(ids) + room > self.context_tokens:
            raise PromptTooLongError(
                f"a prompt of {len(ids)} tokens ({sum(image_tokens)} of them images) and {room} tokens of completion "
                f"exceed the model's context of {self.context_tokens}: shorten the prompt or max_new_tokens, or lower "
                f"the image processor's max_pixels. The prompt begins: {text[:120]!r}"
            )
        return ids

    def _pad(self, rows: list[list[int]], pixel_values_RC: Tensor, grid_I3: Tensor, images_P: Tensor) -> PromptBatch:
        longest = max(map(len, rows))
        pad_id = _pad_id(self.tokenizer)
        ids_PS = torch.tensor([row + [pad_id] * (longest - len(row)) for row in rows])
        mask_PS = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in rows])
        image_types_PS = ((ids_PS == self._image_id) & mask_PS).int()
        positions_3PS, _ = self._rope_index(
            input_ids=ids_PS,
            mm_token_type_ids=image_types_PS,
            image_grid_thw=grid_I3,
            attention_mask=mask_PS.long(),
        )
        next_position_P = positions_3PS.masked_fill(~mask_PS, -1).amax((0, 2)) + 1
        return PromptBatch(ids_PS, mask_PS, positions_3PS, next_position_P, pixel_values_RC, grid_I3, images_P)


@dataclass(frozen=True)
class Reader:
    """What turns questions into tensors and tokens into bytes for one model."""

    encoder: Encoder
    token_bytes: TokenBytes
    tokenizer: Any = field(repr=False)
    image_processor: Any = field(repr=False)


def vocabulary_of(tokenizer: Any, config: Any, generation_config: Any) -> Vocabulary:
    """The vocabulary facts of a model.

    Of a released generation config only the end tokens are heeded; its penalties and temperature are not, since
    training needs samples of the policy itself.

    Raises:
        ValueError: there is no pad token, or no end token.
    """
    ends = generation_config.eos_token_id
    end_ids = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
    if not end_ids:
        raise ValueError(
            f"neither the tokenizer of {tokenizer.name_or_path!r} nor its generation config names an end token: "
            "completions would never end; set eos_token_id in generation_config.json"
        )
    vision = {
        getattr(config, name, None)
        for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    }
    vision |= {
        token_id
        for token_id, token in tokenizer.added_tokens_decoder.items()
        if any(word in token.content for word in ("vision", "image", "video"))
    }
    return Vocabulary(
        size=len(tokenizer),
        pad_id=_pad_id(tokenizer),
        end_ids=tuple(sorted(end_ids)),
        suppressed_ids=torch.tensor(sorted(vision - {None}), dtype=torch.long),
    )


def label_token_ids(tokenizer: Any, labels: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """For each answer label the ids of its single-token spellings ("1" and " 1").

    Raises:
        ValueError: a label, written without a space, is no single token of this tokenizer, so that no probability can
            be read for it.
    """
    spellings = []
    for label in labels:
        encoded = [tokenizer.encode(text, add_special_tokens=False) for text in (label, f" {label}")]
        ids = tuple(dict.fromkeys(e[0] for e in encoded if len(e) == 1 and e[0] != tokenizer.unk_token_id))
        if not ids or len(encoded[0]) != 1:  # behind a tag no space is written: " yes" alone would not be found there
            written = tokenizer.convert_ids_to_tokens(encoded[0])
            raise ValueError(
                f"the tokenizer of {tokenizer.name_or_path!r} lacks the answer label {label!r}: expected one known "
                f"token, got {written}. Choose other labels (letters, say, in the place of 10), put words that all "
                f"answers share into the task's option answer, or take another model"
            )
        spellings.append(ids)
    return tuple(spellings)


def _check_patches(image_processor: Any, vision_config: Any) -> None:
    for option, cut, read in (
        ("patch_size", image_processor.patch_size, vision_config.patch_size),
        ("merge_size", image_processor.merge_size, vision_config.spatial_merge_size),
    ):
        if cut != read:
            raise ValueError(
                f"preprocessor_config.json: {option} is {cut}, but the model's vision tower expects {read}; take the "
                "file that was released with the model"
            )


def _pad_id(tokenizer: Any) -> int:
    if tokenizer.pad_token_id is None:
        raise ValueError(
            f"the tokenizer of {tokenizer.name_or_path!r} has no pad token: set pad_token in its "
            "tokenizer_config.json (the end token will do)"
        )
    return int(tokenizer.pad_token_id)
