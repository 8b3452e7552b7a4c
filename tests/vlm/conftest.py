"""The tiny model, loaded, and the folders that it can start from."""

from pathlib import Path

import pytest

from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.encoding import Reader, label_token_ids
from lit_listener.vlm.loading import load_backbone
from lit_listener.vlm.specs import PolicySpec
from tests.vlm.tiny import TASK


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> tuple[Backbone, Reader]:
    """In eval mode with gradients on: tests leave it so."""
    return load_backbone(str(tiny_folder), PolicySpec(str(tiny_folder)))


@pytest.fixture(scope="session")
def backbone(tiny: tuple[Backbone, Reader]) -> Backbone:
    return tiny[0]


@pytest.fixture(scope="session")
def reader(tiny: tuple[Backbone, Reader]) -> Reader:
    return tiny[1]


@pytest.fixture(scope="session")
def label_ids(reader: Reader) -> tuple[tuple[int, ...], ...]:
    return label_token_ids(reader.tokenizer, TASK.labels)
