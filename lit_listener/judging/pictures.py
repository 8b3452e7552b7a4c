"""The images that a judge is given, in whichever form, as the records that it compares."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps

from lit_listener.data.images import open_image, to_rgb

_LONGEST = 200
"""No image processor of the supported models takes an image that is longer than this, in widths."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An RGB image, and what it is known by."""

    image: Image.Image

    @cached_property
    def digest(self) -> str:
        """SHA-256 of size and pixels: the same for the same picture, wherever it came from."""
        size = np.array(self.image.size, dtype="<u4").tobytes()
        return hashlib.sha256(size + self.image.tobytes()).hexdigest()


ImageLike: TypeAlias = Image.Image | str | Path | np.ndarray[Any, Any] | torch.Tensor | Picture
"""A PIL image, the path of one, ``numpy`` HWC uint8, or ``torch`` CHW float in [0, 1] (or uint8)."""


def picture(given: ImageLike, name: str = "") -> Picture:
    """Read an image.

    Args:
        given: a PIL image; the path of a file; an array of shape ``[height, width, 3]`` (or one channel) and type
            uint8; or a tensor of shape ``[3, height, width]``, floats in [0, 1] (to one hundredth) or uint8.
        name: what messages call it.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: it is nothing of these.
        ValueError: its shape, type or values are others, it is too long for its width, or the file is no image.
    """
    if isinstance(given, Picture):
        return given
    try:
        image = _read(given)
        _check_sides(*image.size)
    except (FileNotFoundError, TypeError, ValueError) as error:
        if not name:
            raise
        kind = next(kind for kind in (FileNotFoundError, TypeError, ValueError) if isinstance(error, kind))
        raise kind(f"{name}: {error}") from error
    return Picture(image)


def _check_sides(width: int, height: int) -> None:
    if max(width, height) > _LONGEST * min(width, height):
        raise ValueError(f"one of its sides is more than {_LONGEST} times the other: {width}x{height} pixels")


def _read(given: Any) -> Image.Image:
    if isinstance(given, Image.Image):
        return to_rgb(ImageOps.exif_transpose(given))  # as a file of it is turned
    if isinstance(given, str | Path):
        return open_image(given)
    if isinstance(given, torch.Tensor):
        return _of_tensor(given)
    if isinstance(given, np.ndarray):
        return _of_array(given)
    raise TypeError(
        f"an image must be a PIL image, a path, a numpy array (HWC, uint8) or a torch tensor (CHW, [0, 1]); got "
        f"{type(given).__name__}"
    )


def _of_tensor(pixels_CHW: torch.Tensor) -> Image.Image:
    if pixels_CHW.ndim != 3 or pixels_CHW.shape[0] not in (1, 3):
        raise ValueError(
            f"an image tensor must have the shape [3, height, width], got {list(pixels_CHW.shape)}; of a batch, give "
            "one image at a time"
        )
    pixels_CHW = pixels_CHW.detach().cpu()
    if pixels_CHW.is_floating_point():
        pixels_CHW = _eight_bits(pixels_CHW.float())
    elif pixels_CHW.dtype != torch.uint8:
        raise ValueError(f"an image tensor must hold floats in [0, 1] or uint8, got {pixels_CHW.dtype}")
    return _of_array(pixels_CHW.permute(1, 2, 0).contiguous().numpy())


def _eight_bits(pixels: torch.Tensor) -> torch.Tensor:
    """Floats in [0, 1] as 0 … 255; what lies outside by more than rounding is refused, not clipped."""
    if not bool(torch.isfinite(pixels).all()):
        raise ValueError("an image tensor holds NaN or infinite values: the picture was not made")
    low, high = float(pixels.min()), float(pixels.max())
    if low < -0.01 or high > 1.01:
        raise ValueError(
            f"an image tensor of floats must lie in [0, 1], got values from {low:.3g} to {high:.3g}; divide 0 … 255 "
            "by 255, or map [-1, 1] by x / 2 + 0.5"
        )
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8)


def _of_array(pixels_HWC: np.ndarray[Any, Any]) -> Image.Image:
    if pixels_HWC.ndim != 3 or pixels_HWC.shape[2] not in (1, 3) or 0 in pixels_HWC.shape:
        raise ValueError(f"an image array must have the shape [height, width, 3], got {list(pixels_HWC.shape)}")
    if pixels_HWC.dtype != np.uint8:
        raise ValueError(
            f"an image array must be of type uint8, got {pixels_HWC.dtype}; floats in [0, 1] are given as a torch "
            "tensor [3, height, width]"
        )
    return Image.fromarray(pixels_HWC[..., 0] if pixels_HWC.shape[2] == 1 else pixels_HWC).convert("RGB")
