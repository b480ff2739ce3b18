"""Videos as frames on demand: `open_video` for any file, and `Video`, decoded frames in memory.

Whoever needs six frames of a clip asks `frames_at` for them: one pass over the file, only those are converted, each at
the size that is wanted. A small clip is decoded once and kept, since that is faster. Frames are as a player shows them:
turned, mirrored, with square pixels. Out of scope: sound, which frames a model sees (`sampling.py`).
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cac.errors import CacError
from cac.video.stream import Limits, VideoIndex, VideoSource, index_video, video_source

SMALL_BYTES = 8 * 2**20  # decoded: a clip of at most so many is kept in memory
_SEEK_FRAMES = 12  # seeking takes as long as decoding about so many
_THREADED_PIXELS = 640 * 360  # below, starting the decoder's threads takes longer than they save
_SWSCALE_FROM = 2.0  # the decoder's scaler averages areas from this ratio on; below, `views.resize` is as fast


@dataclass(frozen=True)
class VideoInfo:
    """What a file is: frames a second on average, the number of frames, and the size as shown.

    `times` are those of the frames in seconds, where `fps` does not give them.
    """

    fps: float
    frame_count: int
    width: int
    height: int
    times: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Video:
    """Decoded frames in memory.

    Attributes:
        frames: uint8 of shape (frames, height, width, 3).
        fps: frames a second, on average.
        own_times: of the frames in seconds, where the rate varies; None: `fps` gives them.
        notes: what was guessed about the file.
    """

    frames: np.ndarray
    fps: float
    own_times: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.frames) / self.fps

    @property
    def frame_count(self) -> int:
        """The number of frames."""
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = self.frames.shape[1:3]
        return width, height

    @cached_property
    def times(self) -> Sequence[float]:
        """The time of each frame in seconds."""
        return self.own_times or tuple(index / self.fps for index in range(len(self.frames)))

    def frames_at(self, indices: Sequence[int], longest_side: int | None = None) -> Iterator[np.ndarray]:
        """Yield frames in the order of the indices, at their full size."""
        yield from (self.frames[index] for index in indices)


@dataclass(frozen=True)
class VideoFile:
    """A video whose frames stay in its file until they are asked for."""

    source: VideoSource
    index: VideoIndex
    limits: Limits | None = None

    @property
    def fps(self) -> float:
        """Frames a second, on average."""
        return self.index.fps

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.index.duration

    @property
    def frame_count(self) -> int:
        """The number of frames."""
        return len(self.index.times)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as shown."""
        return self.index.size

    @property
    def times(self) -> Sequence[float]:
        """The time of each frame in seconds."""
        return self.index.times

    @property
    def notes(self) -> tuple[str, ...]:
        """What was guessed about the file."""
        return self.index.notes

    def frames_at(self, indices: Sequence[int], longest_side: int | None = None) -> Iterator[np.ndarray]:
        """Yield frames in the order of the indices, which are sorted.

        Args:
            indices: of the frames.
            longest_side: a frame much larger than this is scaled down to it; None gives the full size.

        Raises:
            CacError: a frame cannot be decoded.
        """
        converter = _Converter(self.index, longest_side)
        wanted = [self.index.stamps[index] for index in indices]
        with self.source.open() as container:
            stream = container.streams.video[self.index.stream]
            if self.index.coded[0] * self.index.coded[1] >= _THREADED_PIXELS:
                stream.thread_type = "AUTO"
            if self.limits is not None:  # a header may lie; the decoder counts the rows' padding too
                stream.codec_context.options = {"max_pixels": str(2 * self.limits.frame_pixels + 100_000)}
            for frame in _pick(container, stream, self, wanted):
                if (frame.width, frame.height) != self.index.coded:
                    raise CacError(
                        f"{self.source.name} changes the size of its frames. Encode it again, with one size."
                    )
                yield converter(frame)


WholeVideo = Video | VideoFile


@dataclass(frozen=True)
class VideoSegment:
    """Consecutive frames of a video as a video of its own, whose times start at 0; nothing is copied.

    Attributes:
        video: the whole.
        span: the indices of its frames, with a step of 1.
    """

    video: WholeVideo
    span: range

    @property
    def fps(self) -> float:
        """Frames a second of the whole, on average."""
        return self.video.fps

    @property
    def frame_count(self) -> int:
        """The number of frames."""
        return len(self.span)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as shown."""
        return self.video.size

    @property
    def start(self) -> float:
        """When the segment starts in the whole, in seconds."""
        return self.video.times[self.span.start]

    @property
    def duration(self) -> float:
        """Length in seconds, to the start of the frame after it."""
        times = self.video.times
        return (times[self.span.stop] if self.span.stop < len(times) else self.video.duration) - self.start

    @cached_property
    def times(self) -> Sequence[float]:
        """The time of each frame in seconds, from the start of the segment."""
        return tuple(time - self.start for time in self.video.times[self.span.start : self.span.stop])

    @property
    def notes(self) -> tuple[str, ...]:
        """What was guessed about the file."""
        return self.video.notes

    def frames_at(self, indices: Sequence[int], longest_side: int | None = None) -> Iterator[np.ndarray]:
        """Yield frames as those of the whole do, by their indices in the segment."""
        yield from self.video.frames_at([self.span[index] for index in indices], longest_side)


AnyVideo = WholeVideo | VideoSegment


def open_video(source: Path | str | bytes, limits: Limits | None = None, name: str | None = None) -> WholeVideo:
    """Return a video: decoded if it is small, else its file, from which frames are read on demand.

    Args:
        source: a file's path, or the content of one.
        limits: what it may be at most; None: anything.
        name: what messages call it (default: its path).

    Raises:
        CacError: the file is missing, is no video, holds no frame, is cut off, or its frames differ in size.
        BeyondLimitsError: it is beyond the limits; no frame was kept.
    """
    file = _video_file(source, limits, name)
    width, height = file.size
    small = width * height * 3 * file.frame_count <= SMALL_BYTES
    return _in_memory(file) if small else file


def decode(source: Path | str | bytes, limits: Limits | None = None, name: str | None = None) -> Video:
    """Decode a whole video into memory, whatever its size; as `open_video` otherwise."""
    return _in_memory(_video_file(source, limits, name))


def probe(path: Path | str) -> VideoInfo:
    """Return frame rate, frame count and size of a file, as a player shows it.

    Raises:
        CacError: as `open_video`.
    """
    file = _video_file(path, None, None)
    return VideoInfo(file.fps, file.frame_count, *file.size)


def _video_file(source: Path | str | bytes, limits: Limits | None, name: str | None) -> VideoFile:
    known = video_source(source, name)
    return VideoFile(known, index_video(known, limits), limits)


def _in_memory(file: VideoFile) -> Video:
    width, height = file.size
    frames = np.empty((file.frame_count, height, width, 3), np.uint8)
    for index, frame in enumerate(file.frames_at(range(file.frame_count))):
        frames[index] = frame
    return Video(frames, file.fps, None if file.index.is_constant else tuple(file.times), file.notes)


def _pick(container: Any, stream: Any, file: VideoFile, wanted: Sequence[int]) -> Iterator[Any]:
    """Yield the decoded frames with these time stamps, in one pass that seeks over what is not wanted.

    A stream without stamps is counted.
    """
    if "rate guessed" in file.notes:
        yield from _pick_counted(container, stream, file, wanted)
        return
    keyframes, stamps = file.index.keyframes, file.index.stamps
    frames = iter(container.decode(stream))
    position = -1  # index of the frame that was decoded last
    held = None
    for stamp in wanted:
        if held is not None and held.pts == stamp:
            yield held
            continue
        target = bisect_right(stamps, stamp) - 1
        before = bisect_right(keyframes, stamp) - 1
        if before >= 0 and bisect_right(stamps, keyframes[before]) - 1 > position + _SEEK_FRAMES:
            container.seek(keyframes[before], stream=stream)
            frames = iter(container.decode(stream))
        held = next((frame for frame in frames if frame.pts is not None and frame.pts >= stamp), None)
        if held is None or held.pts != stamp:
            raise CacError(f"{file.source.name}: the frame at {file.times[target]:.2f} s cannot be decoded.")
        position = target
        yield held


def _pick_counted(container: Any, stream: Any, file: VideoFile, wanted: Sequence[int]) -> Iterator[Any]:
    missing = list(wanted)
    for number, frame in enumerate(container.decode(stream)):
        while missing and missing[0] == number:
            missing.pop(0)
            yield frame
        if not missing:
            return
    raise CacError(f"{file.source.name}: the frame at {file.times[missing[0]]:.2f} s cannot be decoded.")


class _Converter:
    """Turns decoded frames into arrays as a player shows them."""

    def __init__(self, index: VideoIndex, longest_side: int | None) -> None:
        from av.video.reformatter import VideoReformatter

        # One converter for the whole clip: a frame that converts itself sets up its own, which takes longer than
        # decoding.
        self._converter = VideoReformatter()
        self._index = index
        width, height = index.size[::-1] if index.quarter_turns % 2 else index.size
        scale = 1.0 if longest_side is None else longest_side / max(width, height)
        if scale * _SWSCALE_FROM > 1:
            scale = 1.0
        self._size = max(1, round(width * scale)), max(1, round(height * scale))

    def __call__(self, frame: Any) -> np.ndarray:
        width, height = self._size
        if (width, height) == self._index.coded:
            array = self._converter.reformat(frame, format="rgb24").to_ndarray()
        else:
            scaled = self._converter.reformat(frame, width, height, format="rgb24", interpolation="AREA")
            array = scaled.to_ndarray()
        turned = np.rot90(array, self._index.quarter_turns)
        shown: np.ndarray = np.ascontiguousarray(turned[:, ::-1] if self._index.mirrored else turned)
        return shown
