"""Video files and the frame sampler: the only place that decides which frames a model sees.

`probe`, `decode` and `encode` wrap PyAV; the samplers are pure functions from (frame count, fps, policy) to frame
indices. Files of strangers are decoded within `Limits`. What is left out: audio, variable frame rates (frames are
counted, not timed), and resizing policy (see `dialogue.py`, which knows the sizes).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from cac.errors import BeyondLimitsError, CacError
from cac.schema.geometry import Window, merge_windows

# One thread and cpu-independent: x264 then writes the same bytes on every run and every x86-64 machine.
_X264_OPTIONS = {"crf": "12", "preset": "medium", "threads": "1", "x264-params": "cpu-independent=1"}

# FFmpeg's names of what is read. It would also play text as terminal art, and playlists (m3u8, concat) that name other
# files and addresses, which a stranger's upload must never reach.
_CONTAINERS = (
    *("mov", "matroska", "avi", "gif", "apng", "mpeg", "mpegts", "mpegvideo", "m4v", "flv", "asf", "ogg", "mxf", "nut"),
    *("ivf", "h264", "hevc", "obu", "yuv4mpegpipe"),
)


@dataclass(frozen=True)
class VideoInfo:
    """What a file says of itself; `frame_count` is counted by decoding, not read from the header."""

    fps: float
    frame_count: int
    width: int
    height: int


@dataclass(frozen=True)
class Video:
    """Decoded frames, uint8 of shape (frames, height, width, 3), and the frame rate."""

    frames: np.ndarray
    fps: float

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.frames) / self.fps


@dataclass(frozen=True)
class Limits:
    """What a video may be at most, so that nobody's file fills the memory.

    Attributes:
        seconds: its duration.
        frame_pixels: the pixels of one frame.
        pixels: the pixels of all frames together; decoded, a pixel takes three bytes.
    """

    seconds: float = 60.0
    frame_pixels: int = 3840 * 2160
    pixels: int = 128_000_000

    def check(self, name: str, seconds: float, frame_pixels: int, frames: int) -> None:
        """Hold a video, or what of it is decoded so far, against the limits.

        Raises:
            BeyondLimitsError: it is beyond one.
        """
        pixels = frame_pixels * frames
        if seconds > self.seconds:
            raise BeyondLimitsError(f"{name} is longer than the {self.seconds:g} seconds allowed. Cut it shorter.")
        if frame_pixels > self.frame_pixels:
            raise BeyondLimitsError(f"{name} has frames of more than the {self.frame_pixels} pixels allowed. Scale it.")
        if pixels > self.pixels:
            raise BeyondLimitsError(f"{name} has more than the {self.pixels} pixels in all allowed. Cut or scale it.")


def decode(source: Path | str | bytes, limits: Limits | None = None, name: str | None = None) -> Video:
    """Decode a whole video.

    Args:
        source: a file's path, or the content of one.
        limits: what it may be at most; None: anything.
        name: what messages call it (default: its path).

    Raises:
        CacError: the file is missing, is no video, holds no frame, or its frames differ in size.
        BeyondLimitsError: it is beyond the limits; no more of it was decoded than they allow.
    """
    from av.video.reformatter import VideoReformatter

    # One converter for the whole clip: a frame that converts itself sets up its own, which takes longer than decoding.
    converter = VideoReformatter()
    readable = _readable(source, name, limits)
    frames, rate = _read(readable, lambda frame: converter.reformat(frame, format="rgb24").to_ndarray())
    return Video(np.stack(frames), rate)


def probe(path: Path | str) -> VideoInfo:
    """Return frame rate, frame count and size of a file, by decoding it frame after frame.

    Raises:
        CacError: as `decode`.
    """
    sizes, rate = _read(_readable(path, None, None), lambda frame: (frame.width, frame.height))
    return VideoInfo(rate, len(sizes), *sizes[0])


@dataclass(frozen=True)
class _Readable:
    """What PyAV opens, its name in messages, and what it may be at most."""

    file: str | BytesIO
    name: str
    limits: Limits | None


def _readable(source: Path | str | bytes, name: str | None, limits: Limits | None) -> _Readable:
    if isinstance(source, bytes):
        return _Readable(BytesIO(source), name or "the given content", limits)
    path = Path(source)
    if not path.is_file():
        raise CacError(f"no video file at {name or path}.")
    # Absolute: FFmpeg would read what stands before a colon in a plain name as a protocol.
    return _Readable(str(path.absolute()), name or str(path), limits)


def _read(source: _Readable, keep: Callable[[Any], Any]) -> tuple[list[Any], float]:
    """Decode a video and return what `keep` makes of each frame, and the frame rate."""
    import av

    name = source.name
    try:
        options = {"format_whitelist": ",".join(_CONTAINERS)}
        with av.open(source.file, options=options, metadata_errors="replace") as container:
            if not container.streams.video:
                raise CacError(f"{name} has no video stream; give a video file such as mp4, mov or webm.")
            stream = container.streams.video[0]
            rate = stream.average_rate
            kept = [keep(frame) for frame in _of_one_size(_frames(container, source), name)]
    except av.ArgumentError as error:
        raise CacError(f"{name} is no video file that is read; give one such as mp4, mov or webm.") from error
    except av.FFmpegError as error:
        raise CacError(f"{name} cannot be decoded as video: {error.strerror}. Is the file a whole video?") from error
    if not kept or not rate:
        raise CacError(f"{name} holds no decodable frame.")
    return kept, float(rate)


def _of_one_size(frames: Iterator[Any], name: str) -> Iterator[Any]:
    size = None
    for frame in frames:
        size = size or (frame.width, frame.height)
        if (frame.width, frame.height) != size:
            raise CacError(f"{name} changes the size of its frames. Encode it anew, with one size.")
        yield frame


def _frames(container: Any, source: _Readable) -> Iterator[Any]:
    """Yield the frames, held against the limits before each is converted and kept."""
    stream, limits = container.streams.video[0], source.limits
    if limits is None:
        yield from container.decode(stream)
        return
    context, rate = stream.codec_context, float(stream.average_rate or 1)
    limits.check(source.name, stream.frames / rate, context.width * context.height, stream.frames)
    # A header may lie. The decoder counts the rows' padding too, so its bound is wider; ours is held frame by frame.
    context.options = {"max_pixels": str(2 * limits.frame_pixels + 100_000)}
    for count, frame in enumerate(container.decode(stream), start=1):
        limits.check(source.name, count / rate, frame.width * frame.height, count)
        yield frame


def encode(path: Path | str, frames: np.ndarray, fps: float, pix_fmt: str = "yuv444p") -> None:
    """Write uint8 frames (frames, height, width, 3) as H.264 mp4; the same frames give the same bytes.

    `pix_fmt` yuv444p keeps the colours of small objects; browsers play only yuv420p, which needs even sides.
    """
    import av

    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=_X264_OPTIONS)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def spread_indices(frame_count: int, count: int, phase: float = 0.5) -> list[int]:
    """Return `count` frame indices spread evenly over a clip, sorted and unique.

    The clip is cut into `count` equal parts and the frame at `phase` (in [0, 1)) of each part is taken; a clip shorter
    than `count` gives all its frames.
    """
    if frame_count <= count:
        return list(range(frame_count))
    return [int((part + phase) * frame_count / count) for part in range(count)]


def dense_indices(windows: Sequence[Window], frame_count: int, fps: float, count: int) -> list[int]:
    """Return up to `count` frame indices inside the windows, sorted and unique.

    Windows are cut to the clip. If they hold fewer than `count` frames they are widened evenly to both sides, so that
    the second look always has `count` frames if the clip does; windows that fall between frames start from the frames
    nearest to their middles. Without a window in the clip the whole clip is taken at a phase that differs from the
    coarse scan's.
    """
    cut = [(max(0.0, start), min(frame_count / fps, end)) for start, end in merge_windows(windows)]
    spans = [(start, end) for start, end in cut if start < end]
    if not spans:
        return spread_indices(frame_count, count, phase=0.0)
    inside = [i for i in range(frame_count) if any(start - 1e-6 <= i / fps < end - 1e-6 for start, end in spans)]
    if not inside:
        inside = sorted({min(frame_count - 1, round((start + end) / 2 * fps)) for start, end in spans})
    while len(inside) < min(count, frame_count):
        before, after = inside[0] - 1, inside[-1] + 1
        if before >= 0:
            inside.insert(0, before)
        if after < frame_count and len(inside) < count:
            inside.append(after)
        if before < 0 and after >= frame_count:
            missing = sorted(set(range(frame_count)) - set(inside))
            inside = sorted(inside + missing[: count - len(inside)])
    return [inside[i] for i in spread_indices(len(inside), count)]
