from pathlib import Path

import pytest

from lit_listener.judging.image_files import brief_names, find_images


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Files img1, img2, img10 and B.JPG, others that are no images, and a folder within with one more."""
    for name in ("img10.png", "img2.png", "img1.png", "B.JPG", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "deep.webp").touch()
    (tmp_path / "none").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*words):
    return [str(path) for path in find_images(words)]


def test_a_folder_gives_its_images_by_name(folder):
    assert names(".") == ["B.JPG", "img1.png", "img2.png", "img10.png"]
    assert names(str(folder / "more")) == [str(folder / "more" / "deep.webp")]


def test_a_glob_gives_what_fits_by_name(folder):
    assert names("img*.png") == ["img1.png", "img2.png", "img10.png"]
    assert names("**/*.webp") == ["more/deep.webp"]
    assert names("n[o]tes.*") == ["notes.txt"]  # named by the user; whether it is an image shows when it is opened
    assert names("mor?") == ["more/deep.webp"]  # a folder gives its images


def test_the_order_is_that_of_the_words(folder):
    assert names("img2.png", "more", "img1*.png") == ["img2.png", "more/deep.webp", "img1.png", "img10.png"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(folder):
    (folder / "a[1].png").touch()
    (folder / "a1.png").touch()
    assert names("a[1].png") == ["a[1].png"]


def test_a_home_folder_that_the_shell_left_is_read(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder / "more"))
    assert names("~/*.webp") == [str(folder / "more" / "deep.webp")]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["no*.png"], FileNotFoundError, r"no file fits 'no\*\.png': expected the images"),
        (["none"], FileNotFoundError, r"the folder none holds no images: expected files that end in \.png, .*"),
        (["img1.png", "img[12].png"], ValueError, r"the image img1\.png is given twice: give each once"),
        (["img1.png", "more/../img1.png"], ValueError, r"more/\.\./img1\.png is given twice \(as img1\.png too\)"),
        (["https://x.org/a.png?b=1"], ValueError, r"not from URLs: download https://x\.org/a\.png\?b=1 first"),
    ],
)
def test_words_that_mean_no_images(folder, words, error, message):
    with pytest.raises(error, match=message):
        find_images(words)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["out/a.png", "out/b.png"], ["a.png", "b.png"]),
        (["out/x/a.png", "out/y/a.png"], ["x/a.png", "y/a.png"]),
        (["/far/out/a.png", "/far/b.png"], ["out/a.png", "b.png"]),
        (["a" * 60 + "1.png", "b.png"], ["a" * 23 + "…" + "a" * 19 + "1.png", "b.png"]),  # 23 + 1 + 24 = 48
        (
            ["a" * 30 + "1" + "a" * 40, "a" * 30 + "2" + "a" * 40],
            ["a" * 30 + "1" + "a" * 40, "a" * 30 + "2" + "a" * 40],
        ),
    ],
)
def test_brief_names_tell_files_apart(paths, expected):
    assert brief_names([Path(path) for path in paths]) == expected
