"""Image files as a model is to see them: upright, RGB, 8 bits a channel, transparent parts white, first frame only.

Colour profiles are not applied: what preference models and their processors see are the stored values.
"""

import re
from collections.abc import Callable
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 50_000_000
"""Pixels of the largest image read unless told otherwise; decoded to RGB it takes 150 MB."""
MAX_FETCHED_BYTES = 64 * 2**20
"""Bytes of the largest image file fetched from an address."""
_SECONDS = 20  # that a server may stay silent
_URL = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)
_FETCHED = re.compile(r"https?://", re.IGNORECASE)


def open_image(
    source: str | Path | bytes,
    *,
    min_pixels: int = 1,
    max_pixels: int = MAX_PIXELS,
    allow_urls: bool = False,
    formats: tuple[str, ...] | None = None,
) -> Image.Image:
    """Read and decode an image.

    Args:
        source: A path, or the bytes of an image file; a text may be an http(s) address where ``allow_urls`` is set.
        min_pixels: Refuse images with fewer pixels than this, such as the placeholders of failed downloads.
        max_pixels: Refuse images with more pixels than this, before they are decoded.
        formats: Pillow's names of the formats that are read ("PNG", "JPEG", ...); None for all that Pillow knows, some
            of which start other programs.
        allow_urls: Fetch an image from its address, of ``MAX_FETCHED_BYTES`` at most; without it addresses are refused.

    Returns:
        An RGB image that keeps no file open.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A URL, or something that is no image, broken, cut off, too small, too large or of floating-point
            pixels; the message names the path.
    """
    name = f"an image of {len(source)} bytes" if isinstance(source, bytes) else str(source)
    if isinstance(source, str) and is_url(source):
        name = _shortened(source)
        if not allow_urls or not _FETCHED.match(source):
            raise ValueError(f"images are read from files, not from URLs: download {name} first")
        source = _fetch(source)
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=formats) as image:
            _check_size(*image.size, min_pixels, max_pixels)
            return to_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no image {name}") from None
    except UnidentifiedImageError:
        raise ValueError(f"cannot read {name}: not an image of a known format") from None
    except Exception as error:  # on broken files Pillow's decoders raise whatever they trip over, struct.error and all
        raise ValueError(f"cannot read {name}: {error or type(error).__name__}") from error


def is_url(text: str) -> bool:
    """Whether a text is an address on a network (or a data: URL), not the path of a file."""
    return _URL.match(text) is not None


def _fetch(url: str) -> bytes:
    try:
        with urlopen(url, timeout=_SECONDS) as response:  # only http and https come here
            content: bytes = response.read(MAX_FETCHED_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise ValueError(f"cannot fetch {_shortened(url)}: {error or type(error).__name__}") from error
    if len(content) > MAX_FETCHED_BYTES:
        raise ValueError(f"cannot fetch {_shortened(url)}: it has more than {MAX_FETCHED_BYTES} bytes")
    return content


def _check_size(width: int, height: int, min_pixels: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ValueError(f"its {width}x{height} pixels are more than max_pixels={max_pixels}")
    if width * height < min_pixels:
        raise ValueError(f"its {width}x{height} pixels are fewer than min_pixels={min_pixels}")


def to_rgb(image: Image.Image) -> Image.Image:
    """An image as RGB, 8 bits a channel, transparent parts white.

    Raises:
        ValueError: its pixels are floating-point numbers, which have no fixed range.
    """
    convert = _CONVERSIONS.get(image.mode)
    if convert is not None:
        return convert(image)
    return _over_white(image) if image.has_transparency_data else image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips at 255, which turns all but the darkest greys white.
    grey = np.asarray(image).astype(np.int64).clip(0, 0xFFFF) >> 8
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _refuse_floats(image: Image.Image) -> Image.Image:
    raise ValueError("floating-point pixels have no fixed range; save it with 8 or 16 bits a channel")


_CONVERSIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    **dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N", "I"), _from_16_bits),
    "F": _refuse_floats,
}


def _shortened(name: str) -> str:
    return name if len(name) <= 100 else f"{name[:97]}..."
