"""Clips whose source says only what: other clips without their windows and boxes."""

from cac.schema.annotations import Clip


def without_windows(clip: Clip) -> Clip:
    """The clip with the leaves of its anomalies alone."""
    bare = tuple(anomaly.model_copy(update={"window": None, "boxes": ()}) for anomaly in clip.anomalies)
    return clip.model_copy(update={"anomalies": bare})
