"""Bootstrap intervals of the metrics, for one model, for each anomaly family, and for the difference of two models.

Whole groups of linked clips (a clip and its clean twin, or all cuts of one video) are resampled, since they are not
independent; groups are stratified by how many clean and anomalous clips they hold, so every sample has the data's class
balance. Intervals are percentile intervals
(Efron 1979) of a seeded generator: the same clips in any order give the same numbers. Out of scope: bias correction. An
interval is widened only to include its value, which matters for the calibration error: resampling inflates it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cac.evaluation.facts import Facts, clip_facts
from cac.evaluation.metrics import METRICS
from cac.schema.annotations import Clip
from cac.schema.judgement import Judgement
from cac.schema.taxonomy import Family

COVERAGE = 0.95
_DIGITS = 6  # Sums may differ in their last bits between machines; written metrics should not.

Interval = dict[str, float | None]  # {"value", "low", "high"}; all None where the metric is undefined


def evaluate_judgements(
    clips: Sequence[Clip], judgements: Sequence[Judgement], scores: Sequence[float], samples: int, seed: int
) -> dict[str, Interval]:
    """Return every metric with its 95 % interval.

    Args:
        clips: the truth.
        judgements: aligned with the clips.
        scores: calibrated probabilities of clean, aligned with the clips.
        samples: bootstrap samples.
        seed: of the resampling.

    Raises:
        CacError: there is no clip.
    """
    return evaluate_facts(clip_facts(clips, judgements, scores), samples, seed)


def evaluate_facts(facts: Facts, samples: int, seed: int) -> dict[str, Interval]:
    """Do the same as `evaluate_judgements`, for given facts."""
    resampled = resample(facts, samples, seed)
    return {name: _interval(value, resampled.samples[name]) for name, value in resampled.values.items()}


def per_family(
    clips: Sequence[Clip], judgements: Sequence[Judgement], scores: Sequence[float], samples: int, seed: int
) -> dict[str, dict[str, Interval]]:
    """Return every metric for each family that occurs: over its anomalous clips and the clean twins of those."""
    table = {}
    for family in Family:
        chosen = _of_family(clips, family)
        if chosen:
            table[str(family)] = evaluate_judgements(
                [clips[i] for i in chosen], [judgements[i] for i in chosen], [scores[i] for i in chosen], samples, seed
            )
    return table


def _of_family(clips: Sequence[Clip], family: Family) -> list[int]:
    affected = {i for i, clip in enumerate(clips) if family in {anomaly.family for anomaly in clip.anomalies}}
    pairs = {clips[i].pair_id for i in affected}
    return [i for i, clip in enumerate(clips) if i in affected or (clip.is_clean and clip.pair_id in pairs)]


@dataclass(frozen=True)
class Resampled:
    """Metrics of one model's facts: {name: value}, and {name: values of the bootstrap samples, shape (samples,)}."""

    values: dict[str, float]
    samples: dict[str, np.ndarray]


def resample(facts: Facts, samples: int, seed: int, names: Iterable[str] = tuple(METRICS)) -> Resampled:
    """Return the named metrics of all bootstrap samples; facts of the same clips have the same samples."""
    weights, ones = bootstrap_weights(facts, samples, seed), np.ones((1, len(facts.anomalous)))
    metrics = {name: METRICS[name] for name in names}
    values = {name: float(metric(facts, ones)[0]) for name, metric in metrics.items()}
    return Resampled(values, {name: metric(facts, weights) for name, metric in metrics.items()})


def subtract(first: Resampled, second: Resampled) -> dict[str, Interval]:
    """Return first minus second, for each metric, with its interval; both are of the same clips, samples and seed."""
    return {
        name: _interval(value - second.values[name], first.samples[name] - second.samples[name])
        for name, value in first.values.items()
    }


def paired_difference(first: Facts, second: Facts, samples: int, seed: int) -> dict[str, Interval]:
    """Return first minus second, for every metric, with the interval over shared samples of the same clips.

    Raises:
        ValueError: the two are not facts of the same clips in the same order.
    """
    if not (np.array_equal(first.group, second.group) and np.array_equal(first.anomalous, second.anomalous)):
        raise ValueError("a paired difference needs the same clips in the same order")
    return subtract(resample(first, samples, seed), resample(second, samples, seed))


def bootstrap_weights(facts: Facts, samples: int, seed: int) -> np.ndarray:
    """Return how often each clip counts in each sample, ints of shape (samples, clips)."""
    group = facts.group.astype(int)
    anomalous = np.bincount(group, facts.anomalous)
    makeup = np.stack([anomalous, np.bincount(group) - anomalous], axis=1)
    generator = np.random.default_rng(seed)
    counts = np.zeros((samples, len(makeup)), dtype=int)
    for kind in np.unique(makeup, axis=0):
        members = np.flatnonzero((makeup == kind).all(axis=1))
        counts[:, members] = generator.multinomial(len(members), np.full(len(members), 1 / len(members)), size=samples)
    return counts[:, group]


def _interval(value: float, resampled: np.ndarray) -> Interval:
    if np.isnan(value):
        return {"value": None, "low": None, "high": None}
    tail = (1 - COVERAGE) / 2
    defined = resampled[~np.isnan(resampled)]
    low, high = np.quantile(defined, [tail, 1 - tail]) if len(defined) else (value, value)
    low, high = min(low, value), max(high, value)
    return {"value": _round(value), "low": _round(low), "high": _round(high)}


def _round(number: float) -> float:
    return round(float(number), _DIGITS) + 0.0  # + 0.0 turns -0.0 into 0.0


FAMILY_METRIC = "accuracy"  # the share of right verdicts on the family's clips and their clean twins
