"""CVAT's tracks: keyframes, stretches of equal attributes, and the two tracks that overlapping jobs make of one object.

A task is annotated in jobs, each a segment of its frames; where segments overlap, an object has a track in both. In a
track that was drawn in one job nothing is said of the frames after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple
from xml.etree import ElementTree as ET

from cac.data.exchange.formats.cvat_shapes import SHAPES, shape_box, shape_change
from cac.data.exchange.interchange import ImportedAnnotation
from cac.data.exchange.locations import Keyframe, Size, Track, box_at
from cac.data.exchange.parse import as_frame
from cac.data.exchange.unusable import UnusableError
from cac.errors import printable
from cac.schema.geometry import box_iou

_SAME_OBJECT = 0.5  # IoU of two tracks' boxes where jobs overlap; CVAT merges by the same bound
JOINED = "tracks of overlapping jobs joined to one"


class Entry(NamedTuple):
    """A keyframe and the attributes from it on."""

    key: Keyframe
    attributes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CvatTrack:
    """A track's label, its keyframes in order, where it ends at the latest (exclusive), and what was changed."""

    label: str
    entries: tuple[Entry, ...]
    name: tuple[str, int]
    stop: int | None = None
    changes: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[Keyframe, ...]:
        """The keyframes."""
        return tuple(entry.key for entry in self.entries)


def read_track(track: ET.Element, name: tuple[str, int], to_video: tuple[int, int]) -> CvatTrack:
    """Return a track; `to_video` is (offset, step) of its frame numbers.

    Raises:
        UnusableError: it has no label or keyframe, or a shape that has no box.
    """
    label = track.get("label")
    if not label:
        raise UnusableError("a track without a label")
    shapes = [shape for shape in track if shape.tag != "attribute"]
    unknown = next((shape.tag for shape in shapes if shape.tag not in SHAPES), None)
    if unknown:
        raise UnusableError(f"a {printable(unknown)}, which this reader does not know")
    keys = [shape for shape in shapes if shape.get("keyframe", "1") == "1"]
    fixed = _attributes(track)
    entries = sorted((_entry(shape, to_video, fixed) for shape in keys), key=lambda entry: entry.key.frame)
    if not entries:
        raise UnusableError("a track without a keyframe")
    changes = {change for shape in keys for change in shape_change(shape)}
    return CvatTrack(label, tuple(entries), name, changes=tuple(sorted(changes)))


def _attributes(element: ET.Element) -> dict[str, str]:
    return {each.get("name", ""): each.text or "" for each in element.findall("attribute")}


def _entry(shape: ET.Element, to_video: tuple[int, int], fixed: dict[str, str]) -> Entry:
    seen = shape.get("outside", "0") != "1"
    offset, step = to_video
    frame = offset + step * as_frame(shape.get("frame"))
    # An object that has left the frame needs no valid box.
    key = Keyframe(frame, shape_box(shape) if seen else _last_box(shape), shown=seen, continues=seen)
    return Entry(key, tuple(sorted((fixed | _attributes(shape)).items())))


def _last_box(shape: ET.Element) -> tuple[float, float, float, float]:
    try:
        return shape_box(shape)
    except UnusableError:
        if shape.tag != "skeleton":
            raise
        return (0.0, 0.0, 0.0, 0.0)  # all points of a skeleton that left are outside, too


def join_jobs(tracks: Sequence[CvatTrack], segments: Sequence[tuple[int, int]]) -> list[CvatTrack]:
    """Return the tracks with those of one object joined, each ended with the job that it was drawn in.

    `segments` are the jobs' first and last frames in the video, in order.
    """
    if len(segments) < 2:
        return list(tracks)
    open_tracks: list[tuple[CvatTrack, int | None]] = []
    for track in sorted(tracks, key=lambda track: track.keys[0].frame):
        job = _job_of(track, segments)
        earlier = _same_object(track, job, open_tracks, segments)
        if earlier is None:
            open_tracks.append((track, job))
        else:
            open_tracks[earlier] = (_joined(open_tracks[earlier][0], track), job)
    return [track if job is None else replace(track, stop=segments[job][1] + 1) for track, job in open_tracks]


def _job_of(track: CvatTrack, segments: Sequence[tuple[int, int]]) -> int | None:
    """Return the last job that holds all keyframes; an end may stand one frame after it."""
    frames = [key.frame - (not key.shown) for key in track.keys]
    held = [n for n, (start, stop) in enumerate(segments) if start <= min(frames) and max(frames) <= stop]
    return held[-1] if held else None


def _same_object(
    track: CvatTrack,
    job: int | None,
    earlier: Sequence[tuple[CvatTrack, int | None]],
    segments: Sequence[tuple[int, int]],
) -> int | None:
    """Return the index of the track of the job before that shows the same object where the jobs meet."""
    first = track.keys[0]
    if not job or not first.shown:
        return None
    stop = segments[job - 1][1]
    best = (_SAME_OBJECT, -1)
    for index, (other, other_job) in enumerate(earlier):
        box = box_at(other.keys, min(first.frame, stop))
        if other_job == job - 1 and other.label == track.label and box and segments[job][0] <= first.frame <= stop + 1:
            best = max(best, (box_iou(box, first.box), index))
    return best[1] if best[1] >= 0 else None


def _joined(a: CvatTrack, b: CvatTrack) -> CvatTrack:
    kept = [entry for entry in a.entries if entry.key.frame < b.keys[0].frame]
    return replace(a, entries=(*kept, *b.entries), changes=tuple(sorted({*a.changes, *b.changes, JOINED})))


def annotations_of(track: CvatTrack, size: Size | None, stop: int | None) -> list[ImportedAnnotation]:
    """Return one annotation for each stretch in which a track's attributes stay the same.

    Raises:
        UnusableError: the track is never shown.
    """
    ends = [end for end in (track.stop, stop) if end is not None]
    annotations, done = [], 0
    for attributes, group in groupby(track.entries, key=lambda entry: entry.attributes):
        stretch = [entry.key for entry in group]
        done += len(stretch)
        if any(key.shown for key in stretch):
            location = Track((*stretch, *_closing(track.entries[done:])), size, min(ends, default=None))
            annotations.append(
                ImportedAnnotation(track.label, location, dict(attributes), track.name, changes=track.changes)
            )
    if not annotations:
        raise UnusableError("a track that is never shown")
    return annotations


def _closing(rest: Sequence[Entry]) -> list[Keyframe]:
    """Return what ends a stretch: the keyframe after it, towards which its boxes move but which is not its own."""
    return [Keyframe(rest[0].key.frame, rest[0].key.box, shown=False, continues=False)] if rest else []
