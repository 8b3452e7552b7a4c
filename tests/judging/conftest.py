"""The bundled judge, loaded once, and pairs of the world that it knows."""

import pytest

from lit_listener.data.records import PreferencePair
from lit_listener.data.shapes import ShapesPairs
from lit_listener.judging.judge import Judge


@pytest.fixture(scope="session")
def judge() -> Judge:
    return Judge.load("shapes")


@pytest.fixture(scope="session")
def pairs() -> list[PreferencePair]:
    source = ShapesPairs(["flat", "paper"], 12, "test")
    return [source[place] for place in range(12)]
