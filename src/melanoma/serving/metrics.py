"""Counters of one server, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters in a registry of their own, so that two apps in one process do not mix."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "melanoma_requests", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "melanoma_request_seconds", "Time to answer.", ["route"], buckets=SECONDS, registry=registry
        )
        self.under_way = Gauge("melanoma_requests_under_way", "Requests being answered.", registry=registry)
        self.images = Counter("melanoma_images", "Images judged.", ["decision"], registry=registry)
        self.reloads = Counter("melanoma_reloads", "Bundles loaded again.", ["result"], registry=registry)
        Gauge(
            "melanoma_waiting_images", "Images accepted and not yet judged.", registry=registry
        ).set_function(waiting)
        ProcessCollector(registry=registry)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)
