"""From a judgement's margin (log odds) to a probability: Platt scaling, and how well the probabilities hold.

Two numbers are fitted on the validation split (Platt 1999, "Probabilistic Outputs for Support Vector Machines"): a
temperature, and a bias, because a model that learned from other shares of clean clips than it meets leans to one side.
Both keep the order of the scores. A score near 0.5 can stand on the other side than the verdict, which is what the
model wrote. Left out: isotonic maps, which would tie many scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cac.errors import CacError

TEMPERATURE_RANGE = (0.05, 20.0)
BIAS_RANGE = (-10.0, 10.0)


@dataclass(frozen=True)
class Calibration:
    """What makes scores of margins: score = sigmoid(margin / temperature + bias)."""

    temperature: float = 1.0
    bias: float = 0.0

    def score(self, margin: float) -> float:
        """Return the probability, in [0, 1], that the video is clean."""
        return float(np.exp(-np.logaddexp(0, -(margin / self.temperature + self.bias))))


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram; `mean_score` and `clean_share` are None where no score fell into it."""

    low: float
    high: float
    count: int
    mean_score: float | None
    clean_share: float | None


def fit_calibration(margins: Sequence[float], is_clean: Sequence[bool]) -> Calibration:
    """Return the calibration, within the two ranges, under which the scores best predict `is_clean`.

    Minimises the negative log likelihood over log temperature and bias, from 1 and 0. Margins that are all zero say
    nothing about a temperature; it then stays 1.

    Raises:
        CacError: there is no margin, or one is not finite.
    """
    from scipy.optimize import minimize

    values = np.array([margin for margin, _ in zip(margins, is_clean, strict=True)], dtype=float)
    if not len(values):
        raise CacError("no judgement to calibrate on: the val split is empty. Give it clips.")
    if not np.isfinite(values).all():
        raise CacError("a margin is not finite: the model's logits overflowed. Check the checkpoint's weights.")
    bounds = [tuple(np.log(TEMPERATURE_RANGE)), BIAS_RANGE]
    signs = np.where(np.array(is_clean, dtype=bool), 1.0, -1.0)
    found = minimize(_mean_nll, x0=[0.0, 0.0], args=(values, signs), method="L-BFGS-B", bounds=bounds)
    return Calibration(float(np.exp(found.x[0])), float(found.x[1]))


def _mean_nll(parameters: np.ndarray, margins: np.ndarray, signs: np.ndarray) -> float:
    log_temperature, bias = parameters
    return float(np.logaddexp(0, -signs * (margins / np.exp(log_temperature) + bias)).mean())


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
