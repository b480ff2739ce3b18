"""Convert the annotations of an imported clip to anomalies: labels mapped, boxes cut to the frame, frames to the clip.

An anomaly is one run of consecutive frames; its window is those frames, and it has a box in each, or in none if its
source says only when. If its source says only what, it has no window either. An annotation that does not fit is refused
with a reason, and each change is reported; nothing is dropped silently. Out of scope: counts (`report.py`).
"""

import math
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from cac.data.exchange.interchange import ImportedAnnotation, ImportedClip
from cac.data.exchange.label_map import IGNORE, LabelMap
from cac.data.exchange.locations import Track, WholeClip
from cac.data.exchange.parse import as_number
from cac.data.exchange.runs import BOXLESS, SALIENCY, WINDOWLESS, split_runs
from cac.data.exchange.unusable import UnusableError
from cac.errors import printable
from cac.schema.annotations import Anomaly, FrameBox
from cac.schema.geometry import Box, Window, rounded_box
from cac.schema.taxonomy import family_of
from cac.video.decode import VideoInfo

DIGITS = 6  # of boxes and windows
_SLACK = 1e-6  # of a frame's side that a box may stick out by mere rounding


@dataclass
class Conversion:
    """The result of converting a clip's annotations; `changed` and `refused` hold a sentence for each case."""

    anomalies: tuple[Anomaly, ...] = ()
    kept: int = 0
    ignored: int = 0
    changed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class _Track(NamedTuple):
    """What the annotations of one anomaly have in common."""

    name: Hashable
    leaf: str
    saliency: float
    is_boxless: bool
    is_windowless: bool


def convert(clip: ImportedClip, info: VideoInfo, label_map: LabelMap) -> Conversion:
    """Return the clip's anomalies, sorted, and what was refused and changed.

    A clip that is left with `refused` and no anomaly is not known to be clean.
    """
    done = Conversion(refused=[*clip.refused, *label_map.unknown_parts(clip.unknown)])
    found: dict[_Track, dict[int, Box]] = defaultdict(dict)
    for number, annotation in enumerate(clip.annotations):
        leaf = label_map.leaf_of(annotation)
        if leaf == IGNORE:
            done.ignored += 1
            continue
        try:
            track, boxes, changes = _placed(number, annotation, leaf, info)
        except UnusableError as error:
            done.refused.append(str(error))
            continue
        found[track] |= boxes
        done.kept += 1
        done.changed += changes
    runs = [(track, run) for track, boxes in found.items() for run in split_runs(boxes)]
    anomalies = [_anomaly(track, run, info.fps) for track, run in runs]
    done.anomalies = tuple(sorted(dict.fromkeys(anomalies), key=_order))
    done.changed += ["the same annotation twice: kept once"] * (len(anomalies) - len(done.anomalies))
    return done


def _placed(
    number: int, annotation: ImportedAnnotation, leaf: str | None, info: VideoInfo
) -> tuple[_Track, dict[int, Box], list[str]]:
    """Return the anomaly that an annotation belongs to, its boxes, and what was changed.

    Raises:
        UnusableError: its label is not in the map, or it does not fit the clip.
    """
    if leaf is None:  # only of a remark; another label without a line stopped the import before
        raise UnusableError(f"{printable(annotation.label or '')!r}, chosen or typed, is not in the label map")
    boxes, changes = _fit(annotation, info)
    windowless = isinstance(annotation.location, WholeClip) or annotation.attributes.get(WINDOWLESS) == "true"
    boxless = windowless or annotation.has_no_box or annotation.attributes.get(BOXLESS) == "true"
    name = number if annotation.track is None else annotation.track
    return _Track(name, leaf, _saliency(annotation), boxless, windowless), boxes, [*changes, *annotation.changes]


def _fit(annotation: ImportedAnnotation, info: VideoInfo) -> tuple[dict[int, Box], list[str]]:
    """Return the annotation's boxes inside the clip and the frame, and what was changed.

    Raises:
        UnusableError: no box is.
    """
    given = annotation.location.boxes(info)
    if not given:
        raise UnusableError("shown in no frame")
    inside = {frame: box for frame, box in given.items() if 0 <= frame < info.frame_count}
    if not inside:
        raise UnusableError("outside the clip: all its frames or its window")
    cut = {frame: _cut(box) for frame, box in inside.items()}
    boxes = {frame: box for frame, box in cut.items() if box is not None}
    if not boxes:
        raise UnusableError("no box with an area inside the frame")
    changes = {
        "frames outside the clip skipped": len(inside) < len(given),
        "frames skipped whose box has no area inside the frame": len(boxes) < len(inside),
        "boxes cut to the frame": any(_sticks_out(inside[frame]) for frame in boxes),
        "frame numbers rescaled to the file's": isinstance(annotation.location, Track)
        and annotation.location.is_rescaled(info),
    }
    return boxes, [change for change, happened in changes.items() if happened]


def _cut(box: Box) -> Box | None:
    """Return the box clipped to the frame, or None if nothing is left."""
    if not all(map(math.isfinite, box)):
        return None
    x1, y1, x2, y2 = rounded_box(tuple(min(1.0, max(0.0, side)) for side in box), DIGITS)  # type: ignore[arg-type]
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _sticks_out(box: Box) -> bool:
    return min(box) < -_SLACK or max(box) > 1 + _SLACK


def _saliency(annotation: ImportedAnnotation) -> float:
    saliency = as_number(annotation.attributes.get(SALIENCY, 1.0))
    if not 0 < saliency <= 1:
        raise UnusableError("a saliency that is not above 0 and at most 1")
    return saliency


def _anomaly(track: _Track, run: dict[int, Box], fps: float) -> Anomaly:
    window = None if track.is_windowless else _window(run, fps)
    boxes = () if track.is_boxless else tuple(FrameBox(frame=frame, box=box) for frame, box in sorted(run.items()))
    leaf = track.leaf
    return Anomaly(family=family_of(leaf), leaf=leaf, window=window, boxes=boxes, saliency=track.saliency)


def _window(run: dict[int, Box], fps: float) -> Window:
    return (round(min(run) / fps, DIGITS), round((max(run) + 1) / fps, DIGITS))


def _order(anomaly: Anomaly) -> tuple[object, ...]:
    return (anomaly.window or (), anomaly.leaf, anomaly.saliency, [box.box for box in anomaly.boxes[:1]])
