"""A result: the metrics of one task of a benchmark, over all its questions or over a subset."""

from dataclasses import dataclass

from cac.evaluation.intervals import Interval


@dataclass(frozen=True)
class Result:
    """Metrics with their 95 % intervals.

    Attributes:
        task: as the benchmark calls it, or the respect in which a pair was compared.
        subset: a level, a generator; None for all.
        questions: how many the metrics are of.
        metrics: by name, the most important first.
    """

    task: str
    subset: str | None
    questions: int
    metrics: dict[str, Interval]
