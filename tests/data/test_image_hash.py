import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.fft import dctn

from lit_listener.data.image_hash import image_hash, nearest


def picture(seed: int, size=(160, 120)) -> Image.Image:
    """Soft patches of colour, as a photograph has them."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def bits(a: Image.Image, b: Image.Image) -> int:
    return (image_hash(a) ^ image_hash(b)).bit_count()


def test_the_hash_is_that_of_the_low_frequencies():
    image = picture(0)
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=float)
    low = dctn(grey, type=2)[:8, :8].reshape(-1)
    expected = "".join("1" if value > np.median(low) else "0" for value in low)
    assert f"{image_hash(image):064b}" == expected
    assert expected.count("1") == 32


@pytest.mark.parametrize("seed", range(8))
def test_copies_are_alike(seed):
    image = picture(seed)
    assert bits(image, image.resize((80, 60))) <= 4
    assert bits(image, image.resize((320, 240), Image.Resampling.BILINEAR)) <= 4
    assert bits(image, jpeg(image, 30)) <= 4
    assert bits(image, jpeg(image.resize((100, 75)), 60)) <= 4
    assert bits(image, image.convert("L").convert("RGB")) <= 2


@pytest.mark.parametrize("seed", range(8))
def test_other_images_are_not(seed):
    image = picture(seed)
    assert bits(image, ImageOps.mirror(image)) > 12
    assert bits(image, ImageOps.flip(image)) > 12
    assert bits(image, ImageOps.invert(image)) > 40


def test_unrelated_images_differ_in_half_of_the_bits():
    distances = [bits(picture(a), picture(b)) for a, b in itertools.combinations(range(12), 2)]
    assert min(distances) > 12
    assert 28 < np.mean(distances) < 36


def test_an_image_without_structure_has_no_hash():
    assert image_hash(Image.new("RGB", (50, 40), "red")) is None
    canvas = Image.new("L", (64, 64), 128)
    canvas.paste(255, (0, 0, 32, 64))
    assert image_hash(canvas) is not None


def test_the_nearest_is_found(monkeypatch):
    monkeypatch.setattr("lit_listener.data.image_hash._BLOCK", 8)  # a few at once
    rng = np.random.default_rng(0)
    hashes, among = (rng.integers(0, 2**64, size, dtype=np.uint64) for size in (21, 3))
    hashes[4] = among[2] ^ np.uint64(0b1011)
    places, found = nearest(hashes, among)
    for hashed, place, count in zip(hashes.tolist(), places, found, strict=True):
        distances = [(hashed ^ other).bit_count() for other in among.tolist()]
        assert (distances.index(min(distances)), min(distances)) == (place, count)
    assert (places[4], found[4]) == (2, 3)


def test_the_first_of_several_nearest():
    places, found = nearest(np.array([0], np.uint64), np.array([2**63, 1, 2], np.uint64))
    assert (places[0], found[0]) == (0, 1)
