"""Clips whose source says only when: the windows of other clips without their boxes."""

from pathlib import Path

from cac.schema.annotations import Clip, read_clips, write_clips


def without_boxes(clip: Clip) -> Clip:
    """The clip with its windows and none of its boxes."""
    bare = tuple(anomaly.model_copy(update={"boxes": ()}) for anomaly in clip.anomalies)
    return clip.model_copy(update={"anomalies": bare})


def write_boxless(dataset: Path, out: Path) -> list[Clip]:
    """Write a dataset of the same videos in which no anomaly has boxes; return its clips."""
    out.mkdir()
    (out / "clips").symlink_to(dataset / "clips")
    clips = [without_boxes(clip) for clip in read_clips(dataset)]
    write_clips(out, clips)
    return clips
