from collections.abc import Iterator

import pytest

from lit_listener.judging.judge import Judge


@pytest.fixture(scope="session")
def judge() -> Judge:
    return Judge.load("shapes")


@pytest.fixture(scope="module")
def port(judge: Judge) -> Iterator[int]:
    """The bundled judge, served."""
    pytest.importorskip("fastapi")
    from lit_listener.judging.server.app import create_app  # noqa: PLC0415  # needs the packages of the extra
    from tests.judging.server.served import serving  # noqa: PLC0415

    with serving(create_app(judge)) as port:
        yield port
