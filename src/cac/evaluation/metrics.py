"""Metrics of judgements against the truth, as weighted sums over the facts of the clips.

A metric is a function of (facts, weights): `weights` has shape (samples, clips) and says how often each clip counts, so
one call gives the metric of every bootstrap sample, and a row of ones gives its plain value. Undefined values (a recall
without anomalous clips) are NaN here and None in `point_values`, never 0. Written in numpy, because calling
scikit-learn once a sample costs minutes; the tests hold the code against it. Facts are in `facts.py`, intervals in
`intervals.py`, probabilities in `calibration.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from cac.evaluation.facts import Facts

TEMPORAL_THRESHOLDS = (0.3, 0.5, 0.7)


MetricFunction = Callable[[Facts, np.ndarray], np.ndarray]

_ACRONYMS = {"auroc": "AUROC", "iou": "IoU", "f1": "F1", "mam": "mAM", "mlgm": "mLGM"}
_ALMOST_ONE = 1 - 1e-6


@dataclass(frozen=True)
class MetricInfo:
    """A number that versions are compared by.

    Attributes:
        name: its key in metrics files, tags and settings.
        higher_is_better: None if neither direction is better.
        short_title: for columns of narrow tables; the title if empty.
    """

    name: str
    higher_is_better: bool | None = True
    short_title: str = ""

    @property
    def title(self) -> str:
        """The name for people: `temporal_iou` is "temporal IoU"."""
        return " ".join(_ACRONYMS.get(word, word) for word in self.name.split("_"))

    @property
    def column(self) -> str:
        """The heading of its column."""
        return self.short_title or self.title


@dataclass(frozen=True)
class Metric(MetricInfo):
    """A metric with the function that computes it."""

    compute: MetricFunction = field(kw_only=True)

    def __call__(self, facts: Facts, weights: np.ndarray) -> np.ndarray:
        """Return the metric of every row of `weights`, shape (samples,)."""
        return self.compute(facts, weights)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)
    return result


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    return _ratio((weights[:, known] * values[known]).sum(axis=1), weights[:, known].sum(axis=1))


def _column(name: str, facts: Facts, weights: np.ndarray) -> np.ndarray:
    return _mean(getattr(facts, name), weights)


def _given(condition: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.where(condition > 0, values, np.nan)


def accuracy(facts: Facts, weights: np.ndarray) -> np.ndarray:
    """Share of right verdicts."""
    return _mean((facts.flagged == facts.anomalous).astype(float), weights)


def recall(facts: Facts, weights: np.ndarray) -> np.ndarray:
    """Share of the anomalous clips whose verdict is anomalous."""
    return _mean(_given(facts.anomalous, facts.flagged), weights)


def specificity(facts: Facts, weights: np.ndarray) -> np.ndarray:
    """Share of the clean clips whose verdict is clean."""
    return _mean(_given(1 - facts.anomalous, 1 - facts.flagged), weights)


def distractor_specificity(facts: Facts, weights: np.ndarray) -> np.ndarray:
    """Share of the clean clips with a distractor whose verdict is clean."""
    return _mean(_given((1 - facts.anomalous) * facts.distracted, 1 - facts.flagged), weights)


def precision(facts: Facts, weights: np.ndarray) -> np.ndarray:
    """Share of anomalous verdicts that are right; undefined without one."""
    return _mean(_given(facts.flagged, facts.anomalous), weights)


def balanced_accuracy(facts: Facts, weights: np.ndarray) -> np.ndarray:
    """Mean of recall and specificity."""
    result: np.ndarray = (recall(facts, weights) + specificity(facts, weights)) / 2
    return result


def f1(facts: Facts, weights: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall, as 2 TP / (2 TP + FP + FN)."""
    both = (weights * facts.flagged * facts.anomalous).sum(axis=1)
    return _ratio(2 * both, (weights * (facts.flagged + facts.anomalous)).sum(axis=1))


def auroc(facts: Facts, weights: np.ndarray) -> np.ndarray:
    """Probability that an anomalous clip looks more suspicious (1 - score) than a clean one, ties 0.5."""
    order = np.argsort(-facts.score, kind="stable")
    starts = np.flatnonzero(np.diff(facts.score[order], prepend=np.inf))
    sorted_weights, positive = weights[:, order].astype(float), facts.anomalous[order]
    anomalous = np.add.reduceat(sorted_weights * positive, starts, axis=1)
    clean = np.add.reduceat(sorted_weights * (1 - positive), starts, axis=1)
    less_suspicious = np.cumsum(clean, axis=1) - clean / 2
    return _ratio((anomalous * less_suspicious).sum(axis=1), anomalous.sum(axis=1) * clean.sum(axis=1))


def expected_calibration_error(facts: Facts, weights: np.ndarray) -> np.ndarray:
    """Mean gap between score and share of clean clips over equal-width bins of the score (Naeini et al. 2015)."""
    gap = weights * (facts.score - (1 - facts.anomalous))
    bins = [facts.score_bin == number for number in np.unique(facts.score_bin)]
    total = np.sum([np.abs(gap[:, inside].sum(axis=1)) for inside in bins], axis=0)
    return _ratio(total, weights.sum(axis=1))


def _temporal_recall(threshold: float, facts: Facts, weights: np.ndarray) -> np.ndarray:
    return _mean(_given(facts.anomalous, (facts.temporal_iou >= threshold).astype(float)), weights)


def clean_window_rate(facts: Facts, weights: np.ndarray) -> np.ndarray:
    """Share of the clean clips in which a window is named."""
    return _mean(_given(1 - facts.anomalous, facts.named), weights)


def temporal_iou_when_flagged(facts: Facts, weights: np.ndarray) -> np.ndarray:
    """Mean temporal IoU of the anomalous clips whose verdict is anomalous."""
    return _mean(_given(facts.anomalous * facts.flagged, facts.temporal_iou), weights)


def _three_values(facts: Facts, weights: np.ndarray) -> list[np.ndarray]:
    """Return what V-STaR aggregates: what (accuracy), when (temporal IoU) and where (spatial IoU)."""
    return [accuracy(facts, weights), _mean(facts.temporal_iou, weights), _mean(facts.spatial_iou, weights)]


def mam(facts: Facts, weights: np.ndarray) -> np.ndarray:
    """Arithmetic mean of accuracy, temporal and spatial IoU, as in V-STaR (Cheng et al. 2025, arXiv 2503.11495).

    V-STaR averages over two chains of questions; here there is one.
    """
    result: np.ndarray = np.mean(_three_values(facts, weights), axis=0)
    return result


def mlgm(facts: Facts, weights: np.ndarray) -> np.ndarray:
    """Mean of -ln(1 - value) of accuracy, temporal and spatial IoU, as in V-STaR; values of 1 count as 0.999999."""
    values = np.minimum(_three_values(facts, weights), _ALMOST_ONE)
    result: np.ndarray = -np.log1p(-values).mean(axis=0)
    return result


_ALL = (
    Metric("accuracy", compute=accuracy),
    Metric("balanced_accuracy", short_title="bal. acc.", compute=balanced_accuracy),
    Metric("precision", compute=precision),
    Metric("recall", compute=recall),
    Metric("specificity", short_title="spec.", compute=specificity),
    Metric("distractor_specificity", compute=distractor_specificity),
    Metric("f1", compute=f1),
    Metric("auroc", compute=auroc),
    Metric(
        "expected_calibration_error",
        higher_is_better=False,
        short_title="calib. error",
        compute=expected_calibration_error,
    ),
    Metric("twin_accuracy", compute=partial(_column, "twin")),
    Metric("temporal_iou", compute=partial(_column, "temporal_iou")),
    *(
        Metric(f"temporal_recall_at_{threshold}", compute=partial(_temporal_recall, threshold))
        for threshold in TEMPORAL_THRESHOLDS
    ),
    Metric("temporal_iou_when_flagged", compute=temporal_iou_when_flagged),
    Metric("spatial_iou", compute=partial(_column, "spatial_iou")),
    Metric("joint_accuracy", compute=partial(_column, "all_right")),
    Metric("mam", compute=mam),
    Metric("mlgm", compute=mlgm),
    Metric("family_accuracy", compute=partial(_column, "family_hit")),
    Metric("leaf_accuracy", compute=partial(_column, "leaf_hit")),
    Metric("reward", compute=partial(_column, "reward")),
    Metric("parse_rate", compute=partial(_column, "parsed")),
    Metric("unaided_rate", compute=partial(_column, "unaided")),
    Metric("mean_frames_seen", higher_is_better=None, compute=partial(_column, "frames_seen")),
    Metric("clean_window_rate", higher_is_better=False, compute=clean_window_rate),
    Metric("abstain_rate", higher_is_better=False, compute=partial(_column, "abstained")),
    Metric("mean_window_share", higher_is_better=None, compute=partial(_column, "window_share")),
    Metric("mean_box_area", higher_is_better=None, compute=partial(_column, "box_area")),
)
METRICS = {metric.name: metric for metric in _ALL}

# Measured when a version is registered, not from judgements: it depends on the machine.
SECONDS_PER_CLIP = MetricInfo("seconds_per_clip", higher_is_better=False, short_title="s/clip")


def point_values(facts: Facts) -> dict[str, float | None]:
    """Return every metric over all clips; None where it is undefined."""
    ones = np.ones((1, len(facts.anomalous)))
    values = {name: float(metric(facts, ones)[0]) for name, metric in METRICS.items()}
    return {name: None if np.isnan(value) else value for name, value in values.items()}
