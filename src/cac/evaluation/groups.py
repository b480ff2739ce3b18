"""Results by how long and how large the anomaly is, with fixed bounds, so that runs can be compared."""

from collections.abc import Callable, Sequence

import numpy as np

from cac.evaluation.intervals import Interval, evaluate_judgements
from cac.schema.annotations import Clip
from cac.schema.geometry import box_area, total_length
from cac.schema.judgement import Judgement

LENGTHS = {"up to 0.25 s": 0.25, "0.25 to 0.75 s": 0.75, "0.75 to 1.25 s": 1.25, "over 1.25 s": np.inf}
SIZES = {"up to 2 %": 0.02, "2 to 5 %": 0.05, "5 to 10 %": 0.1, "over 10 %": np.inf}  # of the frame's area
GROUP_METRICS = ("recall", "temporal_iou", "spatial_iou", "joint_accuracy")
_ROUNDING = 1e-3

Groups = dict[str, dict[str, dict[str, Interval]]]  # "length" or "size" -> group -> metric -> interval


def evaluate_groups(
    clips: Sequence[Clip], judgements: Sequence[Judgement], scores: Sequence[float], samples: int, seed: int
) -> Groups:
    """Return `GROUP_METRICS` of the anomalous clips by the length of their windows and by the size of their boxes.

    Groups without a clip are missing. Clips without boxes have no size, those without windows no length. Arguments as
    in `evaluate_judgements`.
    """

    def by(measure: Callable[[Clip], float | None], bounds: dict[str, float]) -> dict[str, dict[str, Interval]]:
        members: dict[str, list[int]] = {name: [] for name in bounds}
        for index, clip in enumerate(clips):
            value = None if clip.is_clean else measure(clip)
            if value is not None:
                members[_group_of(value, bounds)].append(index)
        return {name: measured(chosen) for name, chosen in members.items() if chosen}

    def measured(chosen: list[int]) -> dict[str, Interval]:
        values = evaluate_judgements(
            [clips[i] for i in chosen], [judgements[i] for i in chosen], [scores[i] for i in chosen], samples, seed
        )
        return {name: values[name] for name in GROUP_METRICS}

    return {"length": by(_seconds, LENGTHS), "size": by(_area, SIZES)}


def _group_of(value: float, bounds: dict[str, float]) -> str:
    return next(name for name, bound in bounds.items() if value <= bound * (1 + _ROUNDING))


def _seconds(clip: Clip) -> float | None:
    """Return how long the clip is anomalous; None if not all of its windows are known."""
    return total_length(clip.windows) if clip.has_all_windows else None


def _area(clip: Clip) -> float | None:
    """Return the mean area of the true boxes as a share of the frame; None without boxes."""
    areas = [box_area(box.box) for anomaly in clip.anomalies for box in anomaly.boxes]
    return float(np.mean(areas)) if areas else None
