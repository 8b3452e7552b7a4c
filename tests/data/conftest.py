from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from lit_listener.data.records import PreferencePair


@pytest.fixture
def make_pair() -> Callable[..., PreferencePair]:
    """Makes a pair with a share of votes for A; the images are red and blue unless named."""

    def make(share_a: float = 0.8, **fields) -> PreferencePair:
        defaults = {
            "prompt": "a cat",
            "image_a": Image.new("RGB", (8, 6), "red"),
            "image_b": Image.new("RGB", (8, 6), "blue"),
            "votes": 15,
            "pair_id": "p0",
            "prompt_id": "a cat",
        }
        return PreferencePair(share_a=share_a, **(defaults | fields))

    return make


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two pictures; the tables that tests write lie in it, and so does the cache of what is read."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (6, 4), "red").save(tmp_path / "pictures" / "red.png")
    Image.new("RGB", (4, 4), "blue").save(tmp_path / "pictures" / "blue.png")
    return tmp_path
