"""V7's Darwin JSON, 2.0 and 1.0: one file a video, annotations with boxes at keyframes and the ranges they show in.

A frame's `bounding_box` is read, which V7 also writes for polygons; a `tag` has no box. Fields as in V7's `darwin-py`.
Frames count from 0. V7's own code disagrees on whether the end of a range (`ranges`, in 1.0 `segments`) belongs to it;
here it does if the annotation has a frame there. Out of scope: items of several slots, shapes without a bounding box.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from cac.data.exchange.interchange import ImportedAnnotation, ImportedClip
from cac.data.exchange.locations import Keyframe, Size, Track
from cac.data.exchange.parse import as_box, as_frame, as_list, as_number, as_text, read_json
from cac.data.exchange.unusable import UnusableError
from cac.errors import CacError, printable
from cac.schema.geometry import Box
from cac.video.decode import VideoInfo

SUFFIXES = (".json",)
_KNOWN_PARTS = {"version", "schema_ref", "item", "annotations", "dataset", "image"}
# What a frame of an annotation may hold besides its shape.
_BESIDES = {
    *("keyframe", "properties", "attributes", "text", "instance_id", "inference", "directional_vector", "measures")
}
_NOT_READ = ("hidden_areas", "sections", "only_keyframes")
_EVERYWHERE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class RangedTrack:
    """A track that is shown in some ranges of frames only, their ends exclusive."""

    track: Track
    ranges: tuple[tuple[int, int], ...]

    def boxes(self, info: VideoInfo) -> dict[int, Box]:
        """Return frame → box."""
        found = self.track.boxes(info)
        return {f: box for f, box in found.items() if any(start <= f < end for start, end in self.ranges)}


def read(path: Path) -> list[ImportedClip]:
    """Return the clip of a file.

    Raises:
        CacError: it is no such file.
    """
    content = read_json(path)
    about = content.get("item", content.get("image")) if isinstance(content, dict) else None
    if not isinstance(about, dict) or "annotations" not in content:
        raise CacError(f"{path}: no `item` and `annotations`. Export the dataset as Darwin JSON.")
    video = next(filter(None, (as_text(about.get(key)) for key in ("name", "original_filename", "filename"))), None)
    if video is None:
        raise CacError(f"{path}: its item has no name. Export it again.")
    unknown = [f"`{printable(key)}`" for key, value in content.items() if key not in _KNOWN_PARTS and value]
    slots = about.get("slots", [about])
    if not isinstance(slots, list) or len(slots) != 1 or not isinstance(slots[0], dict):
        return [ImportedClip(video, unusable="an item of several slots")]
    annotations: list[ImportedAnnotation] = []
    refused: list[str] = []
    for number, one in enumerate(as_list(content["annotations"], "annotations", path)):
        try:
            annotations.append(_read_annotation(one, slots[0], (str(path), number)))
        except UnusableError as error:
            refused.append(str(error))
    folder = as_text(about.get("path")) or ""
    return [ImportedClip(video, tuple(annotations), tuple(refused), tuple(unknown), address=f"{folder}/{video}")]


def _read_annotation(one: Any, slot: Mapping[str, Any], name: tuple[str, int]) -> ImportedAnnotation:
    label = as_text(one.get("name")) if isinstance(one, dict) else None
    if label is None:
        raise UnusableError("an annotation without a name")
    frames = one.get("frames")
    if not isinstance(frames, dict) or not frames:
        raise UnusableError("an annotation without frames")
    other = next((key for key in _NOT_READ if one.get(key)), None)
    if other:
        raise UnusableError(f"an annotation with {other}")
    boxes = _keyed_boxes(frames)
    has_no_box = all(box is None for _, box in boxes)
    unit: Size | None = (1.0, 1.0) if has_no_box else _size(slot)
    placed = [(frame, box or _EVERYWHERE) for frame, box in boxes if has_no_box or box is not None]
    keys = tuple(_keyframes(placed, one.get("interpolated") is True))
    track = Track(keys, unit)
    shown = RangedTrack(track, _ranges(one, set(map(as_frame, frames))))
    return ImportedAnnotation(label.strip(), shown, track=name, has_no_box=has_no_box)


def _keyed_boxes(frames: Mapping[str, Any]) -> list[tuple[int, Box | None]]:
    """Return the boxes at keyframes, in order; at all frames if none is a keyframe."""
    if not all(isinstance(shape, dict) for shape in frames.values()):
        raise UnusableError("a frame that is no object")
    keyed = {frame: shape for frame, shape in frames.items() if shape.get("keyframe") is True} or frames
    numbered = {as_frame(frame): shape for frame, shape in keyed.items()}
    return [(frame, _box_of(numbered[frame])) for frame in sorted(numbered)]


def _box_of(shape: Mapping[str, Any]) -> Box | None:
    """Return the bounding box of an annotation in a frame, in pixels; None if it is a tag."""
    given = shape.get("bounding_box")
    if given is None:
        kinds = sorted(set(shape) - _BESIDES)
        if kinds == ["tag"]:
            return None
        raise UnusableError(f"a {printable(', '.join(kinds) or 'frame')} without a bounding box")
    if not isinstance(given, dict):
        raise UnusableError("a bounding box that is no object")
    x, y, width, height = as_box([given.get(side) for side in "xywh"])
    if width < 0 or height < 0:
        raise UnusableError("a box with a negative side")
    return (x, y, x + width, y + height)


def _keyframes(boxes: Sequence[tuple[int, Box]], interpolated: bool) -> list[Keyframe]:
    """Return the keyframes; without interpolation each box holds up to the frame before the next."""
    keys = [Keyframe(frame, box) for frame, box in boxes]
    if interpolated:
        return keys
    held = [Keyframe(b.frame - 1, a.box) for a, b in pairwise(keys) if b.frame - 1 > a.frame]
    return sorted([*keys, *held], key=lambda key: key.frame)


def _ranges(one: Mapping[str, Any], frames: set[int]) -> tuple[tuple[int, int], ...]:
    """Return the ranges of frames, their ends exclusive."""
    given = one.get("ranges", one.get("segments"))
    if not isinstance(given, list) or not given:
        raise UnusableError("an annotation without ranges of frames")
    found = []
    for pair in given:
        if not isinstance(pair, list) or len(pair) != 2 or pair[1] is None:
            raise UnusableError("a range that is not a start and an end")
        start, end = as_frame(pair[0]), as_frame(pair[1])
        end += end in frames
        if end <= start:
            raise UnusableError("a range that ends before it starts")
        found.append((start, end))
    return tuple(found)


def _size(slot: Mapping[str, Any]) -> Size | None:
    sides = slot.get("width"), slot.get("height")
    if None in sides:
        return None
    width, height = as_number(sides[0]), as_number(sides[1])
    if width <= 0 or height <= 0:
        raise UnusableError("a video without a size")
    return width, height
