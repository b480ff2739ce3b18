"""What Prometheus reads: how long, how many together, how many wait, which scores and verdicts, which errors.

Each server has a registry of its own, so that two in one process do not mix. Left out: anything about single clients
or videos.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_SCORES = tuple(tenth / 10 for tenth in range(1, 11))

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The server's counters; each says of itself what it is."""

    def __init__(self, model: str) -> None:
        """Make them; `model` is the version that answers."""
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
        """Add a gauge that asks for its value whenever it is read."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def count_answer(self, score: float, verdict: str, parsed: bool) -> None:
        """Count a scored video; an answer that did not parse is a verdict of its own."""
        self.verdicts.labels(verdict if parsed else "unparsed").inc()
        if parsed:
            self.scores.observe(score)

    def exposition(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, text: str, label: str) -> Gauge:
        return Gauge(name, text, [label], registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self.registry)
