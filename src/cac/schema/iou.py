"""Overlap of a judgement with a clip's annotation, as rewards and metrics use it. Pure functions."""

from cac.schema.annotations import Clip
from cac.schema.geometry import box_iou, temporal_iou
from cac.schema.judgement import Judgement


def window_iou(judgement: Judgement, clip: Clip) -> float | None:
    """Return the temporal IoU of final and true windows, in [0, 1]; None if there are none, or not all are known."""
    if clip.is_clean or not clip.has_all_windows:
        return None
    return temporal_iou(judgement.windows, clip.windows)


def spatial_ious(judgement: Judgement, clip: Clip) -> list[float]:
    """Return the IoU of predicted and true box for every true box of every frame, in [0, 1]; 0 without a prediction.

    The list is empty if the clip has no boxes. The mean is over all true boxes, not only those at predicted frames.
    """
    overlaps = []
    for truth in (box for anomaly in clip.anomalies for box in anomaly.boxes):
        predicted = judgement.box_at(truth.frame / clip.fps)
        overlaps.append(box_iou(predicted, truth.box) if predicted else 0.0)
    return overlaps
