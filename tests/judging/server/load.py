"""Load: client threads that ask a server process as fast as it answers, and hold each answer against the judge."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from lit_listener.judging.judge import Judge
from tests.judging.server.served import PAIRS, compare_body, differences

QUESTIONS = 48
WITHIN = 1e-5


@dataclass(frozen=True)
class Question:
    body: bytes
    expected: dict[str, Any]


@dataclass
class Load:
    """What came of it."""

    clients: int
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __str__(self) -> str:
        return (
            f"{self.clients:3} clients: {len(self.latencies)} answers in {self.seconds:.1f} s, "
            f"{self.per_second:.1f}/s, p50 {self.quantile(0.5):.3f} s, p95 {self.quantile(0.95):.3f} s, "
            f"{len(self.faults)} faults"
        )


def questions(judge: Judge) -> list[Question]:
    """Different pairs, seeds and rollouts, and what the judge says of them offline."""
    asked = []
    for number in range(QUESTIONS):
        options = {"seed": number // len(PAIRS), "both_orders": number % 5 != 0}
        pair = PAIRS[number % len(PAIRS)]
        expected = judge.compare(pair.prompt, pair.image_a, pair.image_b, **options).to_dict()
        body = json.dumps(compare_body(number % len(PAIRS), **options)).encode()
        asked.append(Question(body, expected))
    return asked


def put_load(port: int, clients: int, seconds: float, asked: Sequence[Question]) -> Load:
    """Ask from so many threads, for so long; each has a connection that it keeps."""
    load, lock = Load(clients), threading.Lock()
    started = time.perf_counter()

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        turn = number * 7
        with contextlib.closing(connection):
            while time.perf_counter() - started < seconds:
                question = asked[turn % len(asked)]
                turn += 1
                before = time.perf_counter()
                connection.request("POST", "/v1/compare", question.body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = answer.read()
                took = time.perf_counter() - before
                wrong = (
                    differences(json.loads(content), question.expected, WITHIN)
                    if answer.status == 200
                    else [f"{answer.status}: {content[:200]!r}"]
                )
                with lock:
                    load.latencies.append(took)
                    load.faults.extend(wrong)

    with ThreadPoolExecutor(clients) as threads:
        for each in [threads.submit(client, number) for number in range(clients)]:
            each.result()  # a client that broke off is an error
    load.seconds = time.perf_counter() - started
    return load
