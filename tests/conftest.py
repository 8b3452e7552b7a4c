"""What tests of several floors share: a tiny vision-language model in a Hugging Face folder."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.vlm.tiny import write_tiny  # noqa: PLC0415  # tests of the pure floors must not wait for transformers

    return write_tiny(tmp_path_factory.mktemp("tiny") / "model")
