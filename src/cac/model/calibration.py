"""Calibration: Platt scaling of a judgement's margin (log odds) to a probability, and reliability diagrams.

Two parameters are fitted on the val split (Platt 1999, "Probabilistic Outputs for Support Vector Machines"): a
temperature, and a bias, which corrects for another ratio of clean clips in training than in use. Both preserve the
order of the scores. The verdict follows from the score: it is clean from a threshold on, chosen on val as well. Out of
scope: isotonic regression, which would give many clips the same score.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cac.errors import CacError
from cac.schema.judgement import Judgement

TEMPERATURE_RANGE = (0.05, 20.0)
BIAS_RANGE = (-10.0, 10.0)


@dataclass(frozen=True)
class Calibration:
    """Maps margins to scores, score = sigmoid(margin / temperature + bias), and scores to verdicts.

    Attributes:
        temperature, bias: of the score.
        threshold: the lowest score of a clean verdict; None leaves the verdict as the model wrote it.
    """

    temperature: float = 1.0
    bias: float = 0.0
    threshold: float | None = None

    def score(self, margin: float) -> float:
        """Return the probability, in [0, 1], that the video is clean."""
        return float(np.exp(-np.logaddexp(0, -(margin / self.temperature + self.bias))))

    def probability(self, judgement: Judgement) -> float:
        """Return the probability, in [0, 1], that the video of a judgement is clean.

        A clip judged in segments is clean if each of them is: the product of their probabilities. The calibration is
        fitted on segments, so it holds for clips of any length, as far as segments err independently of each other.
        """
        return math.prod(self.score(margin) for margin in judgement.margins)

    def decide(self, judgement: Judgement) -> Judgement:
        """Return the judgement with the verdict of its score; one that was not parsed stays as it is."""
        if self.threshold is None or not judgement.parsed:
            return judgement
        return judgement.with_verdict("clean" if self.probability(judgement) >= self.threshold else "anomalous")


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


def fit_threshold(calibration: Calibration, scores: Sequence[float], is_clean: Sequence[bool]) -> Calibration:
    """Return the calibration with the threshold of the best balanced accuracy on these clips.

    Candidates are 0, 0.5, 1 and the middle between any two neighbouring scores. Among equally good ones, that nearest
    to 0.5 wins. With clips of one kind only, the threshold is 0.5.
    """
    values, clean = np.array(scores, dtype=float), np.array(is_clean, dtype=bool)
    distinct = np.unique(values)
    candidates = np.unique(np.concatenate([(distinct[1:] + distinct[:-1]) / 2, [0.0, 0.5, 1.0]]))
    if clean.all() or not clean.any():
        return replace(calibration, threshold=0.5)
    specificity = _shares_from(np.sort(values[clean]), candidates)
    recall = 1 - _shares_from(np.sort(values[~clean]), candidates)
    accuracy = np.round(specificity + recall, 9)
    best = candidates[accuracy == accuracy.max()]
    return replace(calibration, threshold=float(best[np.abs(best - 0.5).argmin()]))


def _shares_from(sorted_scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return for each threshold the share of the scores that are at least as high."""
    result: np.ndarray = 1 - np.searchsorted(sorted_scores, thresholds, side="left") / len(sorted_scores)
    return result


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
