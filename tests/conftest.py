"""What tests of several floors share: a tiny vision-language model in a Hugging Face folder."""

import signal
from pathlib import Path

import pytest


def pytest_configure() -> None:
    """Let Ctrl-C through: what a shell runs in its background is deaf to it, and so would be all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.vlm.tiny import write_tiny  # noqa: PLC0415  # tests of the pure floors must not wait for transformers

    return write_tiny(tmp_path_factory.mktemp("tiny") / "model")
