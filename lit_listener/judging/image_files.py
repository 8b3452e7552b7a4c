"""Which image files are meant by what is typed: files, globs and folders; and what to call them briefly."""

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from lit_listener.data.images import is_url

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
"""What files of a folder end in that are taken for images; a file that is named itself may end in anything."""
_LONGEST = 48
"""Characters of a brief name, at most."""


def find_images(words: Sequence[str]) -> list[Path]:
    """The image files that are meant, in the order in which they are named.

    Args:
        words: each a file, a glob (``**`` for folders within folders), or a folder: all images that lie in it, but not
            in folders within it. What a glob or folder holds comes by name, img2 before img10.

    Raises:
        FileNotFoundError: a glob fits no file, or a folder holds no image.
        ValueError: a file is named twice, or an address is given. Whether a file is there and an image shows when it
            is opened.
    """
    found = [path for word in words for path in _meant(word)]
    real: dict[Path, Path] = {}
    for path in found:
        before = real.setdefault(path.resolve(), path)
        if before is not path:
            also = "" if str(before) == str(path) else f" (as {before} too)"
            raise ValueError(f"the image {path} is given twice{also}: give each once")
    return found


def brief_names(paths: Sequence[Path]) -> list[str]:
    """What tells files apart: their paths below the folder they share, the middle left out of long ones."""
    folders = [os.path.abspath(path.parent) for path in paths]
    try:
        shared = os.path.commonpath(folders)
        names = [os.path.relpath(path, shared) for path in paths]
    except ValueError:  # on different drives
        names = [str(path) for path in paths]
    cut = [_without_middle(name) for name in names]
    return cut if len(set(cut)) == len(set(names)) else names


def _meant(word: str) -> list[Path]:
    if is_url(word):
        raise ValueError(f"images are read from files, not from URLs: download {word} first")
    path = Path(os.path.expanduser(word))  # of a quoted word the shell has not
    if path.is_dir():
        return _in_folder(path)
    if path.exists() or not glob.has_magic(word):
        return [path]
    fitting = sorted((Path(each) for each in glob.glob(str(path), recursive=True)), key=_by_name)
    files = [file for each in fitting for file in (_in_folder(each) if each.is_dir() else [each])]
    if not files:
        raise FileNotFoundError(f"no file fits {word!r}: expected the images to be judged")
    return files


def _in_folder(folder: Path) -> list[Path]:
    images = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not images:
        raise FileNotFoundError(
            f"the folder {folder} holds no images: expected files that end in {', '.join(SUFFIXES)}, in itself and "
            "not in folders within it"
        )
    return sorted(images, key=_by_name)


def _by_name(path: Path) -> tuple[list[str | int], str]:
    pieces = re.split("([0-9]+)", str(path).casefold())  # numbers at every odd place
    return [int(piece) if place % 2 else piece for place, piece in enumerate(pieces)], str(path)


def _without_middle(name: str) -> str:
    if len(name) <= _LONGEST:
        return name
    end = _LONGEST // 2
    return f"{name[: _LONGEST - end - 1]}…{name[-end:]}"
