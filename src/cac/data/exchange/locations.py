"""When and where an annotation is in its video: keyframes, numbered frames, seconds, or the whole clip.

A location gives its boxes once the video's rate, count and size are known, so that a reader never opens a video. Out of
scope: what is annotated there (`interchange.py`), and boxes that do not fit the clip (`convert.py`).
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Protocol

from cac.data.exchange.unusable import UnusableError
from cac.schema.geometry import Box, Window, interpolate_box
from cac.video.decode import VideoInfo

Size = tuple[float, float]

NORMALISED: Size = (1.0, 1.0)
PERCENT: Size = (100.0, 100.0)
WHOLE_FRAME: Box = (0.0, 0.0, 1.0, 1.0)
_TOLERANCE = 1e-6  # seconds
_STAMP = 1e-3  # seconds to which containers round the times of frames


class Location(Protocol):
    """When and where an annotation is in its video."""

    def boxes(self, info: VideoInfo) -> dict[int, Box]:
        """Return frame → box, normalised to the video's sides; frames and boxes may still lie outside.

        Raises:
            UnusableError: the annotation is invalid in any video.
        """


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


def box_at(keys: tuple[Keyframe, ...], frame: int) -> Box | None:
    """Return the box of keyframes, in order, in a frame; None where nothing is shown."""
    before = [key for key in keys if key.frame <= frame]
    if not before:
        return None
    key = before[-1]
    if key.frame == frame:
        return key.box if key.shown else None
    after = next((later for later in keys if later.frame > frame), None)
    return _between(key, after, frame) if key.continues else None


def single_keyframes(boxes: Mapping[int, Box]) -> tuple[Keyframe, ...]:
    """Return a keyframe for each box that holds in its own frame only."""
    return tuple(Keyframe(frame, box, continues=False) for frame, box in sorted(boxes.items()))


@dataclass(frozen=True)
class NumberedFrames:
    """The numbers that a source gives the frames of one video, and the number of the first one if it is known.

    Tools count from 0 or from 1. Where a source has a frame 0, or numbers as high as the video has frames, its own
    numbers prove which; else nothing does, and a box would be a frame early or late.
    """

    lowest: int
    highest: int
    first: int | None = None

    def first_frame(self, info: VideoInfo) -> int:
        """Return the number of the first frame.

        Raises:
            UnusableError: the numbers leave it open.
        """
        if self.first is not None:
            return self.first
        if self.lowest < 1 or self.highest > info.frame_count:
            return 0
        if self.highest == info.frame_count:
            return 1
        raise UnusableError("frames that may count from 0 or from 1: say which with --first-frame")


@dataclass(frozen=True)
class NumberedBoxes:
    """A box in each of some frames, by the frames' numbers in the source; boxes in `unit` as in `Track`."""

    by_number: Mapping[int, Box]
    frames: NumberedFrames
    unit: Size | None = None

    def boxes(self, info: VideoInfo) -> dict[int, Box]:
        """Return frame → box."""
        first = self.frames.first_frame(info)
        return Track(single_keyframes({n - first: box for n, box in self.by_number.items()}), self.unit).boxes(info)


@dataclass(frozen=True)
class ListedBoxes:
    """A box for some of the images a source lists for a video; images in `unit`, `numbers` those in their names.

    If there are as many images as frames they are taken in order, else by number.
    """

    by_index: Mapping[int, Box]
    numbers: tuple[int, ...]
    unit: Size | None = NORMALISED
    first: int | None = None

    def boxes(self, info: VideoInfo) -> dict[int, Box]:
        """Return frame → box."""
        if len(self.numbers) == info.frame_count:
            return Track(single_keyframes(self.by_index), self.unit).boxes(info)
        by_number = {self.numbers[index]: box for index, box in self.by_index.items()}
        frames = NumberedFrames(min(self.numbers), max(self.numbers), self.first)
        return NumberedBoxes(by_number, frames, self.unit).boxes(info)


def with_first_frame(location: Location, first: int) -> Location:
    """Return the location with the number of the first frame, if it counts frames and its source leaves that open."""
    if isinstance(location, NumberedBoxes) and location.frames.first is None:
        return replace(location, frames=replace(location.frames, first=first))
    return replace(location, first=first) if isinstance(location, ListedBoxes) else location


@dataclass(frozen=True)
class TimedBox:
    """One box for a window in seconds; a window between two frames has the frame nearest to its middle."""

    window: Window
    box: Box = WHOLE_FRAME

    def boxes(self, info: VideoInfo) -> dict[int, Box]:
        """Return frame → box; up to a second outside the clip, to show where a window sticks out."""
        window = self.window if info.times is None else _evened(self.window, info.times, info.fps)
        duration = info.frame_count / info.fps
        start, end = (min(max(time, -1.0), duration + 1.0) for time in window)
        first, stop = (math.ceil((time - _TOLERANCE) * info.fps) for time in (start, end))
        if first >= stop:
            first = round((start + end) / 2 * info.fps)
            stop = first + 1
        return dict.fromkeys(range(first, stop), self.box)


def _evened(window: Window, times: Sequence[float], fps: float) -> Window:
    """Return a window of frames at these times as one of the same frames spread evenly."""
    last = len(times) - 1

    def even(time: float) -> float:
        after = bisect_left(times, time - _STAMP)
        if not 0 < after <= last:
            return time - times[0] if not after else (last + (time - times[last]) * fps) / fps
        return (after - 1 + min(1.0, (time - times[after - 1]) / (times[after] - times[after - 1]))) / fps

    return even(window[0]), even(window[1])


@dataclass(frozen=True)
class WholeClip:
    """The clip, of an annotation that says neither when nor where; its anomaly has no window.

    A window over all frames would be invented: training would teach it, and metrics would hold models to it.
    """

    def boxes(self, info: VideoInfo) -> dict[int, Box]:
        """Return frame → the whole frame, of all frames."""
        return dict.fromkeys(range(info.frame_count), WHOLE_FRAME)
