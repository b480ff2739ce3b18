"""Calibration: Platt scaling of a judgement's margin (log odds) to a probability, and reliability diagrams.

Two parameters are fitted on the val split (Platt 1999, "Probabilistic Outputs for Support Vector Machines"): a
temperature, and a bias, which corrects for another ratio of clean clips in training than in use. Both preserve the
order of the scores. A score near 0.5 can disagree with the verdict, which is the model's own text. Out of scope:
isotonic regression, which would give many clips the same score.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cac.errors import CacError

TEMPERATURE_RANGE = (0.05, 20.0)
BIAS_RANGE = (-10.0, 10.0)


@dataclass(frozen=True)
class Calibration:
    """Maps margins to scores: score = sigmoid(margin / temperature + bias)."""

    temperature: float = 1.0
    bias: float = 0.0

    def score(self, margin: float) -> float:
        """Return the probability, in [0, 1], that the video is clean."""
        return float(np.exp(-np.logaddexp(0, -(margin / self.temperature + self.bias))))


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram; `mean_score` and `clean_share` are None for an empty bin."""

    low: float
    high: float
    count: int
    mean_score: float | None
    clean_share: float | None


def fit_calibration(margins: Sequence[float], is_clean: Sequence[bool]) -> Calibration:
    """Return the calibration, within the two ranges, whose scores predict `is_clean` best.

    Minimises the negative log likelihood over log temperature and bias, starting at temperature 1 and bias 0. If all
    margins are zero, the temperature stays 1.

    Raises:
        CacError: there is no margin, or a margin is not finite.
    """
    from scipy.optimize import minimize

    values = np.array([margin for margin, _ in zip(margins, is_clean, strict=True)], dtype=float)
    if not len(values):
        raise CacError("no judgement to calibrate on: the val split is empty. Add clips to it.")
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
    """Return the index of each score's equal-width bin of [0, 1], in 0..bins-1; 1 is in the last bin."""
    result: np.ndarray = np.minimum((scores * bins).astype(int), bins - 1)
    return result


def reliability(scores: Sequence[float], is_clean: Sequence[bool], bins: int) -> list[Bin]:
    """Return the mean score and the share of clean clips in each of `bins` equal-width bins of the score."""
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
