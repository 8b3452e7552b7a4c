"""Figures for Prometheus, in a registry of the app's own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lit_listener.judging.server.threads import BatchReport

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counts requests, batches and completions.

    Args:
        waiting: tells how many requests wait.
        inside: tells how many are held.
    """

    def __init__(self, waiting: Callable[[], int], inside: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        named = "lit_listener"
        self._requests = Counter(
            f"{named}_requests", "Requests answered, refusals included.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            f"{named}_request_seconds",
            "From a request's first byte to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._batch_requests = Histogram(
            f"{named}_batch_requests", "Requests that share a batch.", buckets=_SIZES, registry=registry
        )
        self._batch_completions = Histogram(
            f"{named}_batch_completions", "Completions of a batch.", buckets=_SIZES, registry=registry
        )
        self._batch_seconds = Histogram(
            f"{named}_batch_seconds", "What a batch takes.", buckets=_SECONDS, registry=registry
        )
        self._completions = Counter(f"{named}_completions", "Completions sampled.", registry=registry)
        self._forced = Counter(
            f"{named}_forced_traces", "Completions that led to no answer and were closed.", registry=registry
        )
        for name, told, what in (
            ("queue_length", waiting, "Requests that wait for a batch."),
            ("requests_in_flight", inside, "Requests that are read, wait, or are judged."),
        ):
            Gauge(f"{named}_{name}", what, registry=registry).set_function(told)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request came to its end."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, report: BatchReport) -> None:
        """A batch was judged."""
        self._batch_requests.observe(report.requests)
        self._batch_completions.observe(report.completions)
        self._batch_seconds.observe(report.seconds)
        self._completions.inc(report.completions)
        self._forced.inc(report.forced)

    def text(self) -> bytes:
        """All figures in Prometheus' own format."""
        return generate_latest(self._registry)
