"""From a judgement's margin (log odds) to a probability: temperature scaling, and how well the probabilities hold.

One temperature is fitted on the validation split (Guo et al. 2017, "On Calibration of Modern Neural Networks"); it
keeps the order of the scores and the verdict at 0.5. Left out: bias terms and isotonic maps, which would move both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cac.errors import CacError

TEMPERATURE_RANGE = (0.05, 20.0)


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram; `mean_score` and `clean_share` are None where no score fell into it."""

    low: float
    high: float
    count: int
    mean_score: float | None
    clean_share: float | None


def fit_temperature(margins: Sequence[float], is_clean: Sequence[bool]) -> float:
    """Return the temperature in [0.05, 20] under which sigmoid(margin / T) best predicts `is_clean`.

    Minimises the negative log likelihood by a bounded scalar search over log T. Margins that are all zero say nothing
    about a temperature; it is then 1.

    Raises:
        CacError: there is no margin, or one is not finite.
    """
    from scipy.optimize import minimize_scalar

    values = np.array([margin for margin, _ in zip(margins, is_clean, strict=True)], dtype=float)
    if not len(values):
        raise CacError("no judgement to calibrate on: the val split is empty. Give it clips.")
    if not np.isfinite(values).all():
        raise CacError("a margin is not finite: the model's logits overflowed. Check the checkpoint's weights.")
    if not values.any():
        return 1.0
    signed = np.where(np.array(is_clean, dtype=bool), values, -values)
    low, high = np.log(TEMPERATURE_RANGE)
    found = minimize_scalar(_mean_nll, bounds=(low, high), args=(signed,), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def _mean_nll(log_temperature: float, signed_margins: np.ndarray) -> float:
    return float(np.logaddexp(0, -signed_margins / np.exp(log_temperature)).mean())


def calibrated_score(margin: float, temperature: float) -> float:
    """Return sigmoid(margin / temperature): the probability, in [0, 1], that the video is clean."""
    return float(np.exp(-np.logaddexp(0, -margin / temperature)))


def bin_indices(scores: np.ndarray, bins: int) -> np.ndarray:
    """Return the number, in 0..bins-1, of each score's equal-width bin of [0, 1]; 1 belongs to the last bin."""
    return np.minimum((scores * bins).astype(int), bins - 1)


def reliability(scores: Sequence[float], is_clean: Sequence[bool], bins: int) -> list[Bin]:
    """Return mean score and share of clean clips in each of `bins` equal-width bins of the score."""
    values, clean = np.array(scores, dtype=float), np.array(is_clean, dtype=float)
    numbers = bin_indices(values, bins)
    return [
        _bin(number / bins, (number + 1) / bins, values[numbers == number], clean[numbers == number])
        for number in range(bins)
    ]


def _bin(low: float, high: float, scores: np.ndarray, clean: np.ndarray) -> Bin:
    if not len(scores):
        return Bin(low, high, 0, None, None)
    return Bin(low, high, len(scores), float(scores.mean()), float(clean.mean()))
