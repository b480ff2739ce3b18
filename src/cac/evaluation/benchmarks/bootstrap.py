"""Intervals of a benchmark's metrics: whole groups of questions are resampled, because those of a group are dependent.

A metric is a function of weights of shape (1 + samples, questions): row 0 counts every question once and gives the
value, the others are bootstrap samples and give the 95 % percentile interval. The seed is fixed, so the same questions
give the same numbers.
"""

from collections.abc import Sequence

import numpy as np

from cac.evaluation.intervals import COVERAGE, Interval

SAMPLES = 1000
_SEED = 7
_DIGITS = 6


def resampled_weights(groups: Sequence[str], strata: Sequence[object] | None = None) -> np.ndarray:
    """Return how often each question counts: once each in row 0, then in each bootstrap sample.

    Args:
        groups: of the questions.
        strata: of the questions; groups with the same makeup are resampled among themselves, so that every sample has
            the data's balance. None: there is one stratum.
    """
    names, group = np.unique(list(groups), return_inverse=True)
    generator = np.random.default_rng(_SEED)
    counts = np.ones((1 + SAMPLES, len(names)), dtype=np.int32)  # small: there may be 26,000 questions
    makeup = _makeup(group, len(names), strata or [None] * len(group))
    for kind in np.unique(makeup):
        members = np.flatnonzero(makeup == kind)
        share = np.full(len(members), 1 / len(members))
        counts[1:, members] = generator.multinomial(len(members), share, size=SAMPLES)
    return counts[:, group]


def _makeup(group: np.ndarray, count: int, strata: Sequence[object]) -> np.ndarray:
    """Return a number for each group; groups with equally many questions of each stratum have the same."""
    kinds = np.unique([str(stratum) for stratum in strata], return_inverse=True)[1]
    table = np.zeros((count, kinds.max(initial=0) + 1), dtype=int)
    np.add.at(table, (group, kinds), 1)
    numbers: np.ndarray = np.unique(table, axis=0, return_inverse=True)[1].reshape(-1)
    return numbers


def interval_of(values: np.ndarray) -> Interval:
    """Return value and interval of a metric over the rows of `resampled_weights`; all None if it is undefined."""
    value, defined = values[0], values[1:][~np.isnan(values[1:])]
    if np.isnan(value):
        return {"value": None, "low": None, "high": None}
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail]) if len(defined) else (value, value)
    return {
        "value": round(float(value), _DIGITS),
        "low": round(float(min(low, value)), _DIGITS),
        "high": round(float(max(high, value)), _DIGITS),
    }


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean of `values`, shape (questions,), for each row of `weights`; NaN where nothing counts."""
    total = weights.sum(axis=1)
    mean: np.ndarray = np.divide(weights @ values, total, out=np.full(len(weights), np.nan), where=total > 0)
    return mean
