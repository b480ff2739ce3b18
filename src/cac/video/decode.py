"""Reading video files with PyAV: `probe` and `decode`, within `Limits` for files from strangers.

Out of scope: audio, variable frame rates (frames are counted, not timed), which frames a model sees (`sampling.py`),
and their size (`views.py`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from cac.errors import BeyondLimitsError, CacError

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
            raise CacError(f"{name} changes the size of its frames. Encode it again, with one size.")
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
