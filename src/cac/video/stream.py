"""What a video file is: the right stream, the frames' own times, and the size in which they are shown.

`index_video` reads the packets of a file without decoding them, so a file of an hour costs no more than reading it. It
knows: which stream is the film (a cover picture is not), the time of each frame from its time stamp (rates vary), the
duration, and the display size (rotation, pixels that are not square). A file whose end is missing is refused, in every
container alike. Out of scope: pixels (`decode.py`), sound.
"""

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from cac.errors import BeyondLimitsError, CacError

# FFmpeg's names of what is read. It would also play text as terminal art, and playlists (m3u8, concat) that name other
# files and addresses, which a stranger's upload must never reach.
_CONTAINERS = (
    *("mov", "matroska", "avi", "gif", "apng", "mpeg", "mpegts", "mpegvideo", "m4v", "flv", "asf", "ogg", "mxf", "nut"),
    *("ivf", "h264", "hevc", "obu", "yuv4mpegpipe"),
)
_LOST_RATIO = 0.05  # of the duration that a file names: what is missing beyond it was cut off
_LOST_FRAMES = 2.5  # frames' durations that may be missing besides; containers round
_ROUNDED = 0.05  # of a frame: what a constant rate may be off by
_GUESSED_RATE = 25.0  # frames per second of a raw stream that names none


@dataclass(frozen=True)
class Limits:
    """What a video may be at most, so that nobody's file fills the memory or stops the others.

    Attributes:
        seconds: its duration.
        frame_pixels: the pixels of one frame, as coded.
        frames: how many; of each, its time is kept.
    """

    seconds: float = 60.0
    frame_pixels: int = 4096 * 2304
    frames: int = 60 * 240

    def check(self, name: str, seconds: float, frame_pixels: int, frames: int) -> None:
        """Compare a video, or as much of it as has been read, with the limits.

        Raises:
            BeyondLimitsError: it is beyond one.
        """
        if seconds > self.seconds:
            raise BeyondLimitsError(f"{name} is longer than the {self.seconds:g} seconds allowed. Cut it shorter.")
        if frame_pixels > self.frame_pixels:
            raise BeyondLimitsError(f"{name} has frames of more than the {self.frame_pixels} pixels allowed. Scale it.")
        if frames > self.frames:
            raise BeyondLimitsError(
                f"{name} has more than the {self.frames} frames allowed. Cut it, or lower its rate."
            )


@dataclass(frozen=True)
class VideoSource:
    """A file's path or its content, and what messages call it."""

    file: str | bytes
    name: str

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Open the container.

        Raises:
            CacError: it is no video, or damaged.
        """
        import av

        file = BytesIO(self.file) if isinstance(self.file, bytes) else self.file
        try:
            options = {"format_whitelist": ",".join(_CONTAINERS)}
            with av.open(file, options=options, metadata_errors="replace") as container:
                yield container
        except av.ArgumentError as error:
            raise CacError(f"{self.name} is no video file that is read; give one such as mp4, mov or webm.") from error
        except av.FFmpegError as error:
            raise CacError(
                f"{self.name} cannot be decoded as video: {error.strerror}. Is the file a whole video?"
            ) from error


def video_source(source: Path | str | bytes, name: str | None = None) -> VideoSource:
    """Return the source of a path or of a file's content.

    Raises:
        CacError: there is no such file.
    """
    if isinstance(source, bytes):
        return VideoSource(source, name or "the given content")
    path = Path(source)
    if not path.is_file():
        raise CacError(f"no video file at {name or path}.")
    # Absolute: FFmpeg would read what stands before a colon in a plain name as a protocol.
    return VideoSource(str(path.absolute()), name or str(path))


@dataclass(frozen=True)
class VideoIndex:
    """A video's stream, without its pixels.

    Attributes:
        stream: the index of the film among the container's video streams.
        stamps: the time stamp of each frame in the stream's clock, sorted.
        keyframes: those of frames that can be decoded without others, sorted.
        times: of the frames, seconds from the first one.
        fps: frames a second; on average, where the rate varies.
        is_constant: whether the rate is constant, but for what clocks of a millisecond round.
        coded: width and height of the coded frames.
        size: width and height as shown.
        quarter_turns: rotation that a player applies, in quarter turns anticlockwise.
        mirrored: whether it mirrors the turned picture left to right.
        notes: what was guessed.
    """

    stream: int
    stamps: tuple[int, ...]
    keyframes: tuple[int, ...]
    times: tuple[float, ...]
    fps: float
    is_constant: bool
    coded: tuple[int, int]
    size: tuple[int, int]
    quarter_turns: int
    mirrored: bool
    notes: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.times) / self.fps


@dataclass
class _Packets:
    """The packets of one video stream."""

    stamps: list[int] = field(default_factory=list)
    keyframes: list[int] = field(default_factory=list)
    last: int = 0  # duration of the packet with the largest stamp
    unstamped: int = 0
    size: int = 0  # bytes

    def add(self, packet: Any) -> None:
        self.size += packet.size
        if packet.pts is None:
            self.unstamped += 1
            return
        if not self.stamps or packet.pts >= max(self.stamps[-1], self.stamps[0]):
            self.last = packet.duration or 0
        self.stamps.append(packet.pts)
        if packet.is_keyframe:
            self.keyframes.append(packet.pts)


def index_video(source: VideoSource, limits: Limits | None = None) -> VideoIndex:
    """Read a file's packets and the first frame.

    Raises:
        CacError: the file is no video, holds no frame, or its end is missing.
        BeyondLimitsError: it is beyond the limits; no frame was decoded.
    """
    with source.open() as container:
        packets = _demux(container, source, limits)
        stream = container.streams.video[_film(container, packets, source)]
        own = packets[stream.index]
        context = stream.codec_context
        if context is None:
            raise CacError(f"{source.name} has a codec that is not known.")
        stamps, notes = sorted(set(own.stamps)), []
        base = float(stream.time_base or 0)
        if own.unstamped or not base:
            stamps, base, notes = *_numbered(container, stream, source, limits), ["rate guessed"]
        if not own.unstamped and len(stamps) < len(own.stamps):
            raise CacError(f"{source.name} has several frames with the same time: joined recordings? Encode it again.")
        if not stamps:
            raise CacError(f"{source.name} holds no decodable frame.")
        times = tuple((stamp - stamps[0]) * base for stamp in stamps)
        rate = float(stream.average_rate or 0)
        is_constant = rate > 0 and all(abs(time * rate - number) < _ROUNDED for number, time in enumerate(times))
        if is_constant:
            times = tuple(number / rate for number in range(len(times)))
        duration = len(times) / rate if is_constant else times[-1] + _last_duration(times, own.last * base, rate)
        coded = (context.width, context.height)
        if limits is not None:
            limits.check(source.name, duration, coded[0] * coded[1], len(times))
        if not own.unstamped:
            _require_whole(source.name, container, stream, (duration, len(times), stamps[0] * base))
        turns, mirrored, shape = _display(container, stream, source, limits)
        return VideoIndex(
            container.streams.video.index(stream),
            tuple(stamps),
            tuple(sorted(own.keyframes)),
            times,
            rate if is_constant else len(times) / duration,
            is_constant,
            coded,
            _shown_size(coded, shape, turns),
            turns,
            mirrored,
            tuple(notes),
        )


def _demux(container: Any, source: VideoSource, limits: Limits | None) -> dict[int, _Packets]:
    if not container.streams.video:
        raise CacError(f"{source.name} has no video stream; give a video file such as mp4, mov or webm.")
    packets = {stream.index: _Packets() for stream in container.streams.video}
    for packet in container.demux(*container.streams.video):
        if not packet.size:
            continue  # the end of a stream
        own = packets[packet.stream.index]
        own.add(packet)
        if limits is not None:
            limits.check(source.name, 0.0, 0, len(own.stamps) + own.unstamped)
    return packets


def _film(container: Any, packets: dict[int, _Packets], source: VideoSource) -> int:
    """Return which video stream is the film: that with the most frames; the larger one of equals."""
    best, best_rank = None, (0, 0)
    for number, stream in enumerate(container.streams.video):
        own = packets[stream.index]
        rank = (len(own.stamps) + own.unstamped, own.size)
        if "ATTACHED_PIC" not in str(stream.disposition).upper() and rank > best_rank:
            best, best_rank = number, rank
    if best is None:
        raise CacError(f"{source.name} holds no decodable frame.")
    return best


def _numbered(container: Any, stream: Any, source: VideoSource, limits: Limits | None) -> tuple[list[int], float]:
    """Return the numbers of the frames of a stream without time stamps, and the seconds of one frame."""
    rate = float(stream.average_rate or stream.guessed_rate or _GUESSED_RATE)
    count = 0
    with source.open() as again:
        film = again.streams.video[container.streams.video.index(stream)]
        for count, frame in enumerate(_decoded(again, film, limits), start=1):
            if limits is not None:
                limits.check(source.name, count / rate, frame.width * frame.height, count)
    return list(range(count)), 1 / rate


def _decoded(container: Any, stream: Any, limits: Limits | None) -> Iterator[Any]:
    """Decode a stream. A header may lie about the size, so the decoder gets a bound as well."""
    if limits is not None:
        # The decoder counts the rows' padding too, so its bound is wider.
        stream.codec_context.options = {"max_pixels": str(2 * limits.frame_pixels + 100_000)}
    yield from container.decode(stream)


def _last_duration(times: tuple[float, ...], packet: float, rate: float) -> float:
    """Return how long the last frame is shown: as its packet says, or as long as most frames."""
    if packet > 0:
        return packet
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return median(gaps) if gaps else 1 / (rate or _GUESSED_RATE)


def _require_whole(name: str, container: Any, stream: Any, found: tuple[float, int, float]) -> None:
    """Check that the packets reach the end that the header names.

    Raises:
        CacError: the end is missing.
    """
    duration, count, start = found
    if stream.frames > count:
        whole = duration * stream.frames / count
    elif stream.duration and stream.time_base:
        whole = float(stream.duration * stream.time_base)
    elif container.duration and len(container.streams) == 1:
        whole = container.duration / 1e6 - max(0.0, start)
    else:
        return
    missing = whole - duration
    if missing > max(_LOST_RATIO * whole, _LOST_FRAMES * duration / count):
        raise CacError(f"{name} is cut off at {duration:.1f} of {whole:.1f} s. Give the whole file.")


def _display(container: Any, stream: Any, source: VideoSource, limits: Limits | None) -> tuple[int, bool, float]:
    """Return the rotation, whether the picture is mirrored, and the shape of a pixel (width by height)."""
    container.seek(0)
    for frame in _decoded(container, stream, limits):
        if limits is not None:
            limits.check(source.name, 0.0, frame.width * frame.height, 1)
        turns, mirrored = _orientation(frame)
        shape = float(stream.sample_aspect_ratio or 0) or 1.0
        return turns, mirrored, shape
    raise CacError(f"{source.name} holds no decodable frame.")


def _orientation(frame: Any) -> tuple[int, bool]:
    """Return quarter turns anticlockwise, and whether the turned picture is mirrored left to right.

    Both stand in the display matrix, whose first column a mirror negates (`av_display_matrix_flip` of FFmpeg).
    """
    matrix = next((data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return 0, False
    a, b, _, c, d, *_ = struct.unpack("<9i", bytes(matrix)[:36])
    mirrored = a * d - b * c < 0
    degrees = -math.degrees(math.atan2(b, -a if mirrored else a))
    return round(degrees / 90) % 4, mirrored


def _shown_size(coded: tuple[int, int], shape: float, turns: int) -> tuple[int, int]:
    width, height = coded
    if shape > 1:
        width = round(width * shape)
    elif shape < 1:
        height = round(height / shape)
    return (height, width) if turns % 2 else (width, height)
