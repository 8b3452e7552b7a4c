"""A processor for TRL: tokenizer and image processor in one, without torchvision, which Qwen's own would need."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import BatchFeature, ProcessorMixin


class ImageTextProcessor(ProcessorMixin):
    """Expands each image slot of a text to the image's tokens, and cuts the images into patches.

    Args:
        image_processor: a Qwen2-VL image processor.
        tokenizer: the model's tokenizer, with a chat template.
    """

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        self.image_token = "<|image_pad|>"
        self.image_token_id: int = tokenizer.convert_tokens_to_ids(self.image_token)
        super().__init__(image_processor, tokenizer, chat_template=tokenizer.chat_template)

    @classmethod
    def get_attributes(cls) -> list[str]:
        """The parts that the base class keeps."""
        return ["image_processor", "tokenizer"]

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> type:
        """Take the parts as they are: the base class looks for torchvision's image processors."""
        return type(argument)

    @property
    def model_input_names(self) -> list[str]:
        """What the model takes of it."""
        return ["input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw"]

    def __call__(
        self,
        images: Sequence[Sequence[Any]] | None = None,
        text: str | Sequence[str] = "",
        *,
        padding: bool = False,
        return_tensors: str | None = None,
        **options: Any,
    ) -> BatchFeature:
        """Tokens, patches and token types (1 at image tokens) of a batch.

        Args:
            images: each text's images.
            text: texts with one slot an image.
            padding: pad on the left to the longest.
            return_tensors: "pt" for tensors of tokens (then padding is needed); None for lists. Patches are tensors.
            options: what the base class passes along; not needed here.

        Raises:
            ValueError: slots and images differ in number.
        """
        texts = [text] if isinstance(text, str) else list(text)
        flat = [image for of_one in images or () for image in of_one]
        patches = self.image_processor(images=flat, return_tensors="pt") if flat else {}
        grids = patches["image_grid_thw"].prod(-1).tolist() if flat else []
        counts = iter(patches_of_one // self.image_processor.merge_size**2 for patches_of_one in grids)
        pieces = [one.split(self.image_token) for one in texts]
        slots = sum(len(of_one) - 1 for of_one in pieces)
        if slots != len(flat):
            raise ValueError(f"expected one image slot an image, got {slots} slots for {len(flat)} images")
        filled = [
            of_one[0] + "".join(self.image_token * next(counts) + piece for piece in of_one[1:]) for of_one in pieces
        ]
        ids = self.tokenizer(filled, add_special_tokens=False)["input_ids"]
        longest = max(map(len, ids)) if padding else 0
        pads = [max(0, longest - len(row)) for row in ids]
        fields: dict[str, Any] = {
            "input_ids": [[self.tokenizer.pad_token_id] * pad + row for pad, row in zip(pads, ids, strict=True)],
            "attention_mask": [[0] * pad + [1] * len(row) for pad, row in zip(pads, ids, strict=True)],
        }
        fields["mm_token_type_ids"] = [
            [int(token == self.image_token_id) for token in row] for row in fields["input_ids"]
        ]
        if return_tensors == "pt":
            fields = {name: torch.tensor(rows) for name, rows in fields.items()}
        return BatchFeature({**fields, **patches})

    def batch_decode(self, *args: Any, **options: Any) -> list[str]:
        """The tokenizer's."""
        decoded: list[str] = self.tokenizer.batch_decode(*args, **options)
        return decoded
