"""Facts: one row a clip of what a judgement got right, from which all metrics are computed."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from cac.errors import CacError
from cac.model.calibration import bin_indices
from cac.schema.annotations import Clip
from cac.schema.geometry import box_area, cut_windows, total_length
from cac.schema.iou import spatial_ious, window_iou
from cac.schema.judgement import Judgement
from cac.schema.linked_clips import group_clips

CALIBRATION_BINS = 10
RIGHT = 0.5  # IoU from which a window or a box counts as right


@dataclass(frozen=True)
class Facts:
    """Per-clip facts as float arrays of shape (clips,), NaN where a fact does not apply to the clip."""

    pair: np.ndarray  # index of the clip's pair_id among the sorted ones
    group: np.ndarray  # index of its group of linked clips
    anomalous: np.ndarray  # truth, 0 or 1
    distracted: np.ndarray  # 1 if the clip has a distractor
    flagged: np.ndarray  # verdict, 0 or 1
    score: np.ndarray  # calibrated probability of clean
    score_bin: np.ndarray  # calibration bin of the score
    twin: np.ndarray  # anomalous clips: share of its clean twins that score above it, ties 0.5
    temporal_iou: np.ndarray  # anomalous clips whose windows are all known
    spatial_iou: np.ndarray  # anomalous clips with boxes: mean over all their truth boxes
    family_hit: np.ndarray  # anomalous clips, 0 or 1
    leaf_hit: np.ndarray  # anomalous clips, 0 or 1
    abstained: np.ndarray  # anomalous clips: 1 if no window was given
    named: np.ndarray  # 1 if a window was given
    all_right: np.ndarray  # 1 if verdict, window and boxes are right together, else 0
    parsed: np.ndarray
    unaided: np.ndarray  # parsed, and no token overruled by the grammar
    frames_seen: np.ndarray
    window_share: np.ndarray  # clips with a predicted window: share of the clip it covers
    box_area: np.ndarray  # clips with a predicted box: mean area, of the frame's
    reward: np.ndarray  # total reward, as in the reinforcement stage; NaN where it was not given


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
    columns["group"] = _group_numbers(clips)
    columns["twin"] = _twin_wins(columns["pair"], columns["anomalous"] > 0, columns["score"])
    return Facts(**{field.name: columns[field.name] for field in fields(Facts)})


def _row(clip: Clip, judgement: Judgement) -> dict[str, float]:
    """Return the facts of one clip that depend neither on other clips nor on the score."""
    boxes = [finding.box for finding in judgement.findings if finding.box is not None]
    windows = cut_windows(judgement.windows, clip.duration)
    row = {
        "anomalous": float(not clip.is_clean),
        "distracted": float(bool(clip.distractors)),
        "flagged": float(judgement.verdict == "anomalous"),
        "parsed": float(judgement.parsed),
        "unaided": float(judgement.parsed and judgement.unaided),
        "frames_seen": float(judgement.frames_seen),
        "named": float(bool(windows)),
        "window_share": total_length(windows) / clip.duration if windows else np.nan,
        "box_area": float(np.mean([box_area(box) for box in boxes])) if boxes else np.nan,
    }
    anomalous_only = _anomalous_row(clip, judgement) if not clip.is_clean else dict.fromkeys(_ANOMALOUS_FACTS, np.nan)
    return row | anomalous_only | {"all_right": float(_all_right(row | anomalous_only))}


def _all_right(row: dict[str, float]) -> bool:
    """Whether the verdict is right, and on an anomalous clip its windows and, if it has any, its boxes."""
    if row["flagged"] != row["anomalous"]:
        return False
    return not any(row[name] < RIGHT for name in ("temporal_iou", "spatial_iou"))  # NaN: nothing to be found


def _group_numbers(clips: Sequence[Clip]) -> np.ndarray:
    """Return the number of each clip's group, by the first clip id of each: any order of the clips gives the same."""
    groups = sorted(group_clips(clips), key=lambda group: min(clips[i].clip_id for i in group))
    numbers = np.empty(len(clips))
    for number, group in enumerate(groups):
        numbers[group] = number
    return numbers


_ANOMALOUS_FACTS = ("temporal_iou", "spatial_iou", "family_hit", "leaf_hit", "abstained")


def _anomalous_row(clip: Clip, judgement: Judgement) -> dict[str, float]:
    flagged, overlap = judgement.verdict == "anomalous", window_iou(judgement, clip)
    return {
        "temporal_iou": np.nan if overlap is None else overlap,
        "spatial_iou": spatial_iou(clip, judgement),
        "family_hit": float(flagged and judgement.family in {anomaly.family for anomaly in clip.anomalies}),
        "leaf_hit": float(flagged and judgement.leaf in {anomaly.leaf for anomaly in clip.anomalies}),
        "abstained": float(not judgement.windows),
    }


def spatial_iou(clip: Clip, judgement: Judgement) -> float:
    """Mean box IoU over all true boxes, in [0, 1]; NaN for a clip without boxes."""
    ious = spatial_ious(judgement, clip)
    return float(np.mean(ious)) if ious else np.nan


def _twin_wins(pair: np.ndarray, anomalous: np.ndarray, score: np.ndarray) -> np.ndarray:
    wins = np.full(len(pair), np.nan)
    for index in np.flatnonzero(anomalous):
        twins = score[(pair == pair[index]) & ~anomalous]
        if len(twins):
            wins[index] = np.mean((twins > score[index]) + 0.5 * (twins == score[index]))
    return wins
