"""A few seconds of load; ``tests/acceptance/test_server_load.py`` is the long one."""

import pytest

from tests.judging.server.load import put_load, questions
from tests.judging.server.processes import server_process


@pytest.mark.slow
def test_answers_stay_right_under_load(judge):
    asked = questions(judge)
    with server_process() as served:
        load = put_load(served.port, clients=16, seconds=3, asked=asked)
        assert served.end() == 0
    print(load)
    assert load.faults == []
    assert len(load.latencies) >= 16
