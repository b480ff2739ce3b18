"""Probe a clip's file: container, size, frame count, timing, rotation and perceptual hash.

The file is opened once by this code, and FFmpeg gets only its bytes, so that a playlist cannot open other files or
addresses. Frames are decoded one at a time, and files with too large frames are not decoded. Out of scope: comparing
with the annotation (`clip_facts.py`).
"""

import hashlib
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cac.data.validation.perceptual_hash import FRAMES, HEIGHT, WIDTH, perceptual_hash
from cac.errors import CacError
from cac.video.decode import VideoInfo
from cac.video.sampling import spread_indices

if TYPE_CHECKING:
    import numpy as np

_TEXT_ART = frozenset({"tty", "bin", "xbin", "adf", "idf"})  # FFmpeg plays text files as terminal art


class TooLarge(CacError):
    """The frames have more pixels a side than are allowed; none was decoded."""


class Undecodable(CacError):
    """The file is no video that decodes."""


@dataclass(frozen=True)
class VideoProbe:
    """Properties of a video file.

    Attributes:
        info: frame rate (the average), frame count, and the size of the first frame.
        container: FFmpeg's name of the container format.
        is_constant: whether the frame rate is constant.
        is_one_size: whether all frames have the same size.
        quarter_turns: rotation that players apply, in quarter turns anticlockwise.
        perceptual_hash: None if the number of frames is not the annotated one.
    """

    info: VideoInfo
    container: str
    is_constant: bool
    is_one_size: bool
    quarter_turns: int
    perceptual_hash: bytes | None


def sha256_of(file: BufferedReader) -> str:
    """Return the SHA-256 of an open file in hexadecimal digits, and rewind it."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    return digest


def open_clip(path: Path) -> BufferedReader:
    """Open a regular file.

    Raises:
        OSError: it is missing, not a regular file (a pipe would block), or unreadable.
        ValueError: the name is not a valid file name.
    """
    if path.exists() and not path.is_file():
        raise OSError(None, "not a file")
    return path.open("rb")


def probe_video(file: BufferedReader, frame_count: int, max_side: int) -> VideoProbe:
    """Decode an open video file, frame after frame.

    Args:
        file: open at its start.
        frame_count: the annotated number of frames; the perceptual hash samples frames over it.
        max_side: of a frame, in pixels.

    Raises:
        TooLarge: a side is longer than `max_side`.
        Undecodable: it is no video, is cut off, or holds no frame.
    """
    import av

    try:
        # No protocol is allowed: the file's content must not open another file.
        with av.open(file, options={"protocol_whitelist": "none"}) as container:
            if not container.streams.video or container.format.name in _TEXT_ART:
                raise Undecodable("has no video stream")
            return _decode_all(container, frame_count, max_side)
    except av.FFmpegError as error:
        raise Undecodable(f"cannot be decoded as video: {error.strerror}") from error
    except (OSError, ValueError, OverflowError, MemoryError) as error:  # an empty file cannot even be sought in
        said = getattr(error, "strerror", None) or error or "out of memory"
        raise Undecodable(f"cannot be decoded as video: {said}") from error


def _decode_all(container: Any, frame_count: int, max_side: int) -> VideoProbe:
    from av.video.reformatter import VideoReformatter

    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise Undecodable("has a codec that is not known")
    _require_size(stream.codec_context, max_side)
    timing, shrinker, kept = FrameTiming(), VideoReformatter(), []
    wanted, sizes, quarter_turns, count = set(spread_indices(frame_count, FRAMES)), [], 0, 0
    for frame in container.decode(stream):
        _require_size(frame, max_side)
        if count in wanted:
            kept.append(_shrink(frame, shrinker))
        if (frame.width, frame.height) not in sizes:
            sizes.append((frame.width, frame.height))
        quarter_turns = quarter_turns or round(frame.rotation / 90) % 4
        timing.add(frame.pts)
        count += 1
    if not count or not stream.average_rate:
        raise Undecodable("holds no decodable frame")
    return VideoProbe(
        info=VideoInfo(float(stream.average_rate), count, *sizes[0]),
        container=container.format.name,
        is_constant=timing.is_constant,
        is_one_size=len(sizes) == 1,
        quarter_turns=quarter_turns,
        perceptual_hash=perceptual_hash(kept) if count == frame_count else None,
    )


def _require_size(shown: Any, max_side: int) -> None:
    if max(shown.width, shown.height) > max_side:
        raise TooLarge(f"{shown.width}x{shown.height}")


def _shrink(frame: Any, shrinker: Any) -> "np.ndarray":
    small: np.ndarray = shrinker.reformat(
        frame, width=WIDTH, height=HEIGHT, format="gray8", interpolation="AREA"
    ).to_ndarray()
    return small


class FrameTiming:
    """Whether the frame rate is constant, from the frames' times in ticks of the file's clock, added one by one."""

    def __init__(self) -> None:
        """Start before the first frame."""
        self._last: int | None = None
        self._shortest = self._longest = 0
        self._known = True
        self._steps = 0

    def add(self, time: int | None) -> None:
        """Add the next frame's time, in display order; None if the file does not have it."""
        if time is None:
            self._known = False
            return
        if self._last is not None:
            step = time - self._last
            self._shortest = min(self._shortest, step) if self._steps else step
            self._longest = max(self._longest, step)
            self._steps += 1
        self._last = time

    @property
    def is_constant(self) -> bool:
        """Whether all steps are equal; a clock that does not divide the rate gives steps that differ by a tick."""
        if not self._known or self._shortest < 0:
            return False
        return not self._steps or self._longest - self._shortest <= min(1, self._shortest / 10)
