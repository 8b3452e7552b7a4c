import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from lit_listener.judging.pictures import picture

RED = Image.new("RGB", (5, 3), (200, 10, 20))


def test_the_same_picture_in_every_form_is_known_as_the_same(tmp_path):
    path = tmp_path / "red.png"
    RED.save(path)
    pixels_HWC = np.asarray(RED)
    given_forms = [
        RED,
        path,
        str(path),
        pixels_HWC,
        torch.from_numpy(pixels_HWC.copy()).permute(2, 0, 1),
        torch.from_numpy(pixels_HWC.copy()).permute(2, 0, 1) / 255,
        picture(RED),
    ]
    assert {picture(form).digest for form in given_forms} == {picture(RED).digest}
    assert {picture(form).image.tobytes() for form in given_forms} == {RED.tobytes()}


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 4), st.just(3))))
def test_floats_come_back_to_the_pixels_they_were_made_of(pixels_HWC):
    tensor_CHW = torch.from_numpy(pixels_HWC.copy()).permute(2, 0, 1).double() / 255
    assert np.array_equal(np.asarray(picture(tensor_CHW).image), pixels_HWC)
    assert picture(tensor_CHW.to(torch.bfloat16)).image.size == picture(pixels_HWC).image.size


def test_floats_between_two_levels_go_to_the_nearer_one():
    levels = picture(torch.tensor([100.6, 99.4, 0.2])[:, None, None] / 255).image.getpixel((0, 0))
    assert levels == (101, 99, 0)


def test_an_image_that_was_opened_is_turned_upright_as_its_file_is(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn to the left of upright
    half = RED.copy()
    half.paste((0, 0, 255), (0, 0, 2, 3))
    half.save(tmp_path / "photo.png", exif=exif)
    opened = Image.open(tmp_path / "photo.png")
    assert opened.size == (5, 3)
    assert picture(opened).image.size == (3, 5)
    assert picture(opened).digest == picture(tmp_path / "photo.png").digest
    assert picture(picture(opened).image).digest == picture(opened).digest  # not turned twice


def test_size_is_part_of_what_a_picture_is_known_by():
    assert picture(Image.new("RGB", (2, 3))).digest != picture(Image.new("RGB", (3, 2))).digest


def test_one_channel_is_grey_and_transparent_parts_are_white():
    grey = picture(np.full((2, 2, 1), 7, np.uint8)).image
    assert (grey.mode, grey.getpixel((0, 0))) == ("RGB", (7, 7, 7))
    clear = Image.new("RGBA", (1, 1), (0, 0, 0, 0))
    assert picture(clear).image.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("form", "error", "message"),
    [
        (torch.zeros(2, 3, 4, 4), ValueError, r"shape \[3, height, width\], got \[2, 3, 4, 4\]"),
        (torch.zeros(4, 4, 3), ValueError, r"shape \[3, height, width\], got \[4, 4, 3\]"),
        (torch.full((3, 2, 2), 200.0), ValueError, r"must lie in \[0, 1\], got values from 200 to 200"),
        (torch.full((3, 2, 2), -1.0), ValueError, r"map \[-1, 1\] by"),
        (torch.full((3, 2, 2), float("nan")), ValueError, "NaN"),
        (torch.zeros(3, 2, 2, dtype=torch.int64), ValueError, "got torch.int64"),
        (np.zeros((2, 2, 3), np.float32), ValueError, "uint8, got float32"),
        (np.zeros((3, 2, 2), np.uint8), ValueError, r"\[height, width, 3\], got \[3, 2, 2\]"),
        (np.zeros((0, 2, 3), np.uint8), ValueError, r"got \[0, 2, 3\]"),
        (np.zeros((1, 201, 3), np.uint8), ValueError, "more than 200 times the other: 201x1 pixels"),
        ("nowhere.png", FileNotFoundError, "there is no image nowhere.png"),
        (b"bytes", TypeError, "got bytes"),
        (None, TypeError, "got NoneType"),
        ("https://example.org/a.png", ValueError, "not from URLs"),
    ],
)
def test_what_is_no_image_is_refused(form, error, message):
    with pytest.raises(error, match=message):
        picture(form)
