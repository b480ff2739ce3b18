"""The content of another tool's annotation file, in one form for all formats, before it is matched with the video.

A reader of a format returns `ImportedClip`s; it cuts, renames and judges nothing. The location of an annotation is
computed later, when the video's rate and size are known, so that a reader never opens a video. Out of scope: the
meaning of labels (`label_map.py`), and annotations that do not fit their clip (`convert.py`).
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Protocol

from cac.schema.geometry import Box, interpolate_box
from cac.video.decode import VideoInfo

Size = tuple[float, float]

NORMALISED: Size = (1.0, 1.0)
PERCENT: Size = (100.0, 100.0)
WHOLE_FRAME: Box = (0.0, 0.0, 1.0, 1.0)


class UnusableError(Exception):
    """An annotation or video that cannot be used; the message is the reason for the report."""


class Location(Protocol):
    """When and where an annotation is in its video."""

    def boxes(self, info: VideoInfo) -> dict[int, Box]:
        """Return frame → box, normalised to the video's sides; frames and boxes may still lie outside.

        Raises:
            UnusableError: the annotation is invalid in any video.
        """


@dataclass(frozen=True)
class ImportedAnnotation:
    """One annotation. `label` is None if the format has no labels.

    A track whose attributes change becomes several annotations of one `track`, which become one anomaly again if they
    get the same leaf.
    """

    label: str | None
    location: Location
    attributes: Mapping[str, str] = field(default_factory=dict)
    track: Hashable = None
    has_no_box: bool = False  # a range of time only: the box is the whole frame


@dataclass(frozen=True)
class ImportedClip:
    """One video as the source names it, with its annotations; without annotations and refusals it is a clean clip.

    `refused` holds the reason for each annotation that could not be read; `unusable` is the reason why the whole clip
    cannot be used, if there is one.
    """

    video: str
    annotations: tuple[ImportedAnnotation, ...] = ()
    refused: tuple[str, ...] = ()
    generator: str | None = None
    pair_id: str | None = None
    unusable: str | None = None


@dataclass(frozen=True)
class Keyframe:
    """A keyframe: the box in `frame`, whether it is shown there, and whether it continues to the next keyframe."""

    frame: int
    box: Box
    shown: bool = True
    continues: bool = True


@dataclass(frozen=True)
class Track:
    """Boxes at keyframes, interpolated linearly; a last one that continues holds to `stop` or the clip's end.

    Boxes are in `unit`, the size of the frame in the tool's units, or in pixels of the file if it is None.
    `tool_frame_count` is how many frames the tool counted in the video, if known; `stop` is exclusive.
    """

    keys: tuple[Keyframe, ...]
    unit: Size | None = None
    stop: int | None = None
    tool_frame_count: int | None = None

    def boxes(self, info: VideoInfo) -> dict[int, Box]:
        """Return frame → box. Only keyframes may lie outside the clip, so that huge frame numbers cost nothing."""
        keys = self._in_clip(info)
        end = info.frame_count if self.stop is None else min(self.stop, info.frame_count)
        found: dict[int, Box] = {}
        for key, after in zip_longest(keys, keys[1:]):
            if key.shown:
                found[key.frame] = key.box
            if key.continues:
                until = after.frame if after else end
                for frame in range(max(0, key.frame + 1), min(until, info.frame_count)):
                    found[frame] = _between(key, after, frame)
        width, height = self.unit or (info.width, info.height)
        return {frame: (b[0] / width, b[1] / height, b[2] / width, b[3] / height) for frame, b in found.items()}

    def is_rescaled(self, info: VideoInfo) -> bool:
        """Whether the tool counted another number of frames; one more or less is a player's rounding."""
        return self.tool_frame_count is not None and abs(self.tool_frame_count - info.frame_count) > 1

    def _in_clip(self, info: VideoInfo) -> list[Keyframe]:
        """Return the keyframes in the file's frames, in order; of several in one frame the last is used."""
        scale = info.frame_count / self.tool_frame_count if self.tool_frame_count and self.is_rescaled(info) else None
        frames = [key.frame if scale is None else round(key.frame * scale) for key in self.keys]
        placed = {frame: replace(key, frame=frame) for frame, key in zip(frames, self.keys, strict=True)}
        return [placed[frame] for frame in sorted(placed)]


def _between(key: Keyframe, after: Keyframe | None, frame: int) -> Box:
    if after is None:
        return key.box
    return interpolate_box(key.box, after.box, (frame - key.frame) / (after.frame - key.frame))


def single_keyframes(boxes: Mapping[int, Box]) -> tuple[Keyframe, ...]:
    """Return a keyframe for each box that holds in its own frame only."""
    return tuple(Keyframe(frame, box, continues=False) for frame, box in sorted(boxes.items()))


def merge_clips(clips: Iterable[ImportedClip]) -> list[ImportedClip]:
    """Return one clip a video, merging entries of the source that name the same video."""
    merged: dict[str, ImportedClip] = {}
    for clip in clips:
        known = merged.get(clip.video)
        merged[clip.video] = clip if known is None else _merge_two(known, clip)
    return list(merged.values())


def _merge_two(a: ImportedClip, b: ImportedClip) -> ImportedClip:
    return ImportedClip(
        a.video,
        a.annotations + b.annotations,
        a.refused + b.refused,
        a.generator or b.generator,
        a.pair_id or b.pair_id,
        a.unusable or b.unusable,
    )
