"""Metrics of judgements against the truth: one row of facts per clip, and metrics as weighted sums over the rows.

A metric is a function of (facts, weights): `weights` has shape (samples, clips) and says how often each clip counts, so
one call gives the metric of every bootstrap sample, and a row of ones gives its plain value. Undefined values (a recall
without anomalous clips) are NaN here and None in `point_values`, never 0. Written in numpy, because calling
scikit-learn once a sample costs minutes; the tests hold the code against it. Intervals are in `intervals.py`,
probabilities in `calibration.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial

import numpy as np

from cac.errors import CacError
from cac.model.calibration import bin_indices
from cac.schema.annotations import Clip
from cac.schema.geometry import Window, box_area, temporal_iou, total_length
from cac.schema.iou import spatial_ious
from cac.schema.judgement import Judgement

TEMPORAL_THRESHOLDS = (0.3, 0.5, 0.7)
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Facts:
    """Per-clip facts as float arrays of shape (clips,), NaN where a fact does not apply to the clip."""

    pair: np.ndarray  # index of the clip's pair_id among the sorted ones
    anomalous: np.ndarray  # truth, 0 or 1
    distracted: np.ndarray  # 1 if the clip has a distractor
    flagged: np.ndarray  # verdict, 0 or 1
    score: np.ndarray  # calibrated probability of clean
    score_bin: np.ndarray  # calibration bin of the score
    twin: np.ndarray  # anomalous clips: share of its clean twins that score above it, ties 0.5
    temporal_iou: np.ndarray  # anomalous clips
    spatial_iou: np.ndarray  # anomalous clips with boxes: mean over all their truth boxes
    family_hit: np.ndarray  # anomalous clips, 0 or 1
    leaf_hit: np.ndarray  # anomalous clips, 0 or 1
    abstained: np.ndarray  # anomalous clips: 1 if no window was given
    parsed: np.ndarray
    unaided: np.ndarray  # parsed, and no token overruled by the grammar
    frames_seen: np.ndarray
    window_share: np.ndarray  # clips with a predicted window: share of the clip it covers
    box_area: np.ndarray  # clips with a predicted box: mean area, of the frame's
    reward: np.ndarray  # total reward, as in the reinforcement stage; NaN where it was not given


MetricFunction = Callable[[Facts, np.ndarray], np.ndarray]

_ACRONYMS = {"auroc": "AUROC", "iou": "IoU", "f1": "F1"}


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


def clip_facts(
    clips: Sequence[Clip],
    judgements: Sequence[Judgement],
    scores: Sequence[float],
    bins: int = CALIBRATION_BINS,
    rewards: Sequence[float] | None = None,
) -> Facts:
    """Return the facts of aligned clips, judgements, calibrated scores (probability of clean, in [0, 1]) and rewards.

    Raises:
        CacError: there is no clip.
        ValueError: the lists differ in length, or a score is no probability.
    """
    if not clips:
        raise CacError("no clip to evaluate: the split is empty. Check the splits in the dataset's annotations.jsonl.")
    if not all(0 <= score <= 1 for score in scores):
        raise ValueError("scores must be probabilities of clean, in [0, 1]")
    rows = [_row(clip, judgement) for clip, judgement in zip(clips, judgements, strict=True)]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    columns["score"] = np.array([score for _, score in zip(clips, scores, strict=True)], dtype=float)
    columns["score_bin"] = bin_indices(columns["score"], bins).astype(float)
    columns["reward"] = np.full(len(clips), np.nan) if rewards is None else np.array(rewards, dtype=float)
    columns["pair"] = np.unique([clip.pair_id for clip in clips], return_inverse=True)[1].astype(float)
    columns["twin"] = _twin_wins(columns["pair"], columns["anomalous"] > 0, columns["score"])
    return Facts(**{field.name: columns[field.name] for field in fields(Facts)})


def _row(clip: Clip, judgement: Judgement) -> dict[str, float]:
    """Return the facts of one clip that depend neither on other clips nor on the score."""
    boxes = [finding.box for finding in judgement.findings if finding.box is not None]
    windows = _cut_windows(judgement.windows, clip.duration)
    row = {
        "anomalous": float(not clip.is_clean),
        "distracted": float(bool(clip.distractors)),
        "flagged": float(judgement.verdict == "anomalous"),
        "parsed": float(judgement.parsed),
        "unaided": float(judgement.parsed and judgement.unaided),
        "frames_seen": float(judgement.frames_seen),
        "window_share": total_length(windows) / clip.duration if windows else np.nan,
        "box_area": float(np.mean([box_area(box) for box in boxes])) if boxes else np.nan,
    }
    anomalous_only = _anomalous_row(clip, judgement) if not clip.is_clean else dict.fromkeys(_ANOMALOUS_FACTS, np.nan)
    return row | anomalous_only


_ANOMALOUS_FACTS = ("temporal_iou", "spatial_iou", "family_hit", "leaf_hit", "abstained")


def _anomalous_row(clip: Clip, judgement: Judgement) -> dict[str, float]:
    flagged = judgement.verdict == "anomalous"
    return {
        "temporal_iou": temporal_iou(judgement.windows, clip.windows),
        "spatial_iou": spatial_iou(clip, judgement),
        "family_hit": float(flagged and judgement.family in {anomaly.family for anomaly in clip.anomalies}),
        "leaf_hit": float(flagged and judgement.leaf in {anomaly.leaf for anomaly in clip.anomalies}),
        "abstained": float(not judgement.windows),
    }


def spatial_iou(clip: Clip, judgement: Judgement) -> float:
    """Mean box IoU over all true boxes, in [0, 1]; NaN for a clip without boxes."""
    ious = spatial_ious(judgement, clip)
    return float(np.mean(ious)) if ious else np.nan


def _cut_windows(windows: Sequence[Window], duration: float) -> list[Window]:
    return [(start, min(end, duration)) for start, end in windows if start < duration]


def _twin_wins(pair: np.ndarray, anomalous: np.ndarray, score: np.ndarray) -> np.ndarray:
    wins = np.full(len(pair), np.nan)
    for index in np.flatnonzero(anomalous):
        twins = score[(pair == pair[index]) & ~anomalous]
        if len(twins):
            wins[index] = np.mean((twins > score[index]) + 0.5 * (twins == score[index]))
    return wins


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
    Metric("spatial_iou", compute=partial(_column, "spatial_iou")),
    Metric("family_accuracy", compute=partial(_column, "family_hit")),
    Metric("leaf_accuracy", compute=partial(_column, "leaf_hit")),
    Metric("reward", compute=partial(_column, "reward")),
    Metric("parse_rate", compute=partial(_column, "parsed")),
    Metric("unaided_rate", compute=partial(_column, "unaided")),
    Metric("mean_frames_seen", higher_is_better=None, compute=partial(_column, "frames_seen")),
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
