"""Shared by the exports: a clip's anomalies as runs of consecutive frames, and the keyframes that reproduce a run.

Each run is exported as its own track, so that importing the export gives the same anomalies. Out of scope: how a
format writes them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cac.data.exchange.locations import WHOLE_FRAME
from cac.schema.annotations import Anomaly, Clip, window_frames
from cac.schema.geometry import Box

SALIENCY = "saliency"  # the attribute that carries it
BOXLESS = "boxless"  # the attribute of a track whose anomaly has a window and no boxes; its box is the whole frame
WINDOWLESS = "windowless"  # the attribute of a track whose anomaly has no window either; it lasts the whole clip


@dataclass(frozen=True)
class FrameRun:
    """One anomaly in one or more consecutive frames.

    Without boxes of its own it has the whole frame in each, and without a window it has all frames.
    """

    leaf: str
    saliency: float
    boxes: dict[int, Box]
    has_boxes: bool = True
    has_window: bool = True


def attributes_of(run: FrameRun) -> dict[str, float | bool]:
    """Return the attributes that carry what a track of boxes cannot."""
    lacks = {BOXLESS: not run.has_boxes, WINDOWLESS: not run.has_window}
    return {SALIENCY: run.saliency} | {name: True for name, lacking in lacks.items() if lacking}


def frame_runs(clip: Clip) -> list[FrameRun]:
    """Return the clip's anomalies, each as one run of frames, or as several where boxes are missing in between."""
    return [
        FrameRun(anomaly.leaf, anomaly.saliency, run, bool(anomaly.boxes), anomaly.window is not None)
        for anomaly in clip.anomalies
        for run in split_runs(_boxes_of(anomaly, clip))
    ]


def _boxes_of(anomaly: Anomaly, clip: Clip) -> dict[int, Box]:
    if anomaly.boxes:
        return {box.frame: box.box for box in anomaly.boxes}
    shown = range(clip.frame_count) if anomaly.window is None else window_frames(anomaly, clip.fps, clip.frame_count)
    return dict.fromkeys(shown, WHOLE_FRAME)


def split_runs(boxes: Mapping[int, Box]) -> Iterator[dict[int, Box]]:
    """Yield the boxes of each run of consecutive frames, in order."""
    run: dict[int, Box] = {}
    for frame in sorted(boxes):
        if run and frame - 1 not in run:
            yield run
            run = {}
        run[frame] = boxes[frame]
    if run:
        yield run


def keyframes(run: Mapping[int, Box]) -> list[tuple[int, Box]]:
    """Return the frames that reproduce a run by interpolation: all except those between two equal boxes."""
    return [(frame, box) for frame, box in sorted(run.items()) if not run.get(frame - 1) == box == run.get(frame + 1)]


def video_name(clip: Clip) -> str:
    """Return the name of the clip's video in an export: its path below `clips/`."""
    return clip.path.removeprefix("clips/")
