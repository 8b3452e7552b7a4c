"""A minute of load on a served judge: no error, each answer right, and batches that pay.

Prints what one client and 32 get, in the same run on the same machine.
"""

import pytest

from lit_listener.judging.judge import Judge
from tests.judging.server.load import put_load, questions
from tests.judging.server.processes import server_process
from tests.judging.server.served import ask

CLIENTS, SECONDS = 32, 60


@pytest.mark.accept
def test_32_clients_for_a_minute():
    asked = questions(Judge.load("shapes"))
    with server_process() as served:
        put_load(served.port, clients=1, seconds=2, asked=asked)  # what comes first is slow
        alone = put_load(served.port, clients=1, seconds=15, asked=asked)
        many = put_load(served.port, clients=CLIENTS, seconds=SECONDS, asked=asked)
        figures = ask(served.port, "GET", "/metrics").content.decode()
        assert served.end() == 0
    counted = dict(line.rsplit(" ", 1) for line in figures.splitlines() if not line.startswith("#"))
    batches = float(counted["lit_listener_batch_completions_count"])
    print(f"\n{alone}\n{many}\n{many.per_second / alone.per_second:.2f} times as much")
    print(f"completions a batch, both together: {float(counted['lit_listener_completions_total']) / batches:.1f}")
    assert alone.faults == []
    assert many.faults == []
    assert len(many.latencies) >= CLIENTS
    assert many.per_second >= 3 * alone.per_second
