"""Prometheus metrics: durations, batch sizes, queue length, scores, verdicts and errors.

Each server has its own registry, so two servers in one process do not mix. Nothing identifies clients or videos.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_SCORES = tuple(tenth / 10 for tenth in range(1, 11))

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The metrics of one server."""

    def __init__(self, model: str) -> None:
        """Create the metrics; `model` is the served version."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._gauge("cac_model_info", "The model in force.", "model").labels(model).set(1)
        self.seconds = self._histogram("cac_request_seconds", "From request to answer, of scored videos.", _SECONDS)
        self.judge_seconds = self._histogram("cac_judge_seconds", "Judging one batch.", _SECONDS)
        self.batch_size = self._histogram("cac_batch_videos", "Videos judged together.", _SIZES)
        self.scores = self._histogram("cac_score", "Scores given, of answers that parsed.", _SCORES)
        self.verdicts = Counter("cac_verdicts", "Videos scored.", ["verdict"], registry=self.registry)
        self.errors = Counter("cac_errors", "Requests that got no score.", ["kind"], registry=self.registry)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is computed whenever it is read."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def count_answer(self, score: float, verdict: str, parsed: bool) -> None:
        """Count a scored video; unparsed answers are counted under their own verdict, "unparsed"."""
        self.verdicts.labels(verdict if parsed else "unparsed").inc()
        if parsed:
            self.scores.observe(score)

    def exposition(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, text: str, label: str) -> Gauge:
        return Gauge(name, text, [label], registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self.registry)
