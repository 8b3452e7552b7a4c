"""Perceptual hashes: images that look alike have hashes that differ in few of their 64 bits.

The hash is the one known as pHash (Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010):
the image is made grey and 32 x 32, and each bit tells whether one of the 8 x 8 lowest frequencies of its cosine
transform is above their median. Size and compression hardly change it. Mirrored, turned and cropped copies have other
hashes, and so have copies of images of one colour none of their own: without structure there is nothing to hash.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

Hashes = npt.NDArray[np.uint64]

BITS = 64
_SIDE, _LOW = 32, 8
_COSINES = np.cos(np.pi / _SIDE * np.outer(np.arange(_LOW), np.arange(_SIDE) + 0.5))
"""The lowest cosines of the transform (DCT-II), a row each."""
_BLOCK = 2**22  # comparisons at once: 32 MB of hashes


def image_hash(image: Image.Image) -> int | None:
    """The hash of an image, a number of 64 bits; None for one without structure, such as an empty canvas."""
    grey = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    low = (_COSINES @ grey @ _COSINES.T).reshape(-1)
    # The first is the brightness alone. A grey level over all pixels makes 1024; below it there is only rounding.
    if np.abs(low[1:]).max() < _SIDE * _SIDE:
        return None
    return int(np.packbits(low > np.median(low)).view(">u8")[0])


def nearest(hashes_N: Hashes, among_M: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each hash the nearest of others.

    All are compared with all, some millions at a time: a million with ten thousand take about a minute.

    Args:
        hashes_N: The hashes.
        among_M: The others; at least one.

    Returns:
        The place of the nearest among the others (the first of several), and in how many bits it differs.
    """
    places_N = np.zeros(len(hashes_N), dtype=np.int64)
    bits_N = np.zeros(len(hashes_N), dtype=np.int64)
    step = max(1, _BLOCK // len(among_M))
    for start in range(0, len(hashes_N), step):
        part = slice(start, start + step)
        bits = np.bitwise_count(hashes_N[part, None] ^ among_M[None, :])
        places_N[part] = bits.argmin(axis=1)
        bits_N[part] = bits.min(axis=1)
    return places_N, bits_N
