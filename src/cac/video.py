"""Video files and the frame sampler: the only place that decides which frames a model sees.

`probe`, `decode` and `encode` wrap PyAV; the samplers are pure functions from (frame count, fps, policy) to frame
indices. What is left out: audio, variable frame rates (frames are counted, not timed), and resizing policy (see
`dialogue.py`, which knows the sizes).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from cac.errors import CacError
from cac.geometry import Window, merge_windows

# One thread and cpu-independent: x264 then writes the same bytes on every run and every x86-64 machine.
_X264_OPTIONS = {"crf": "12", "preset": "medium", "threads": "1", "x264-params": "cpu-independent=1"}

# FFmpeg plays text files as terminal art; to us a .txt is a mistake, not a video.
_TEXT_ART = frozenset({"tty", "bin", "xbin", "adf", "idf"})


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


def decode(path: Path | str) -> Video:
    """Decode a whole video file.

    Raises:
        CacError: the file is missing, is no video, or holds no frame.
    """
    from av.video.reformatter import VideoReformatter

    # One converter for the whole clip: a frame that converts itself sets up its own, which takes longer than decoding.
    converter = VideoReformatter()
    frames, rate = _read(Path(path), lambda frame: converter.reformat(frame, format="rgb24").to_ndarray())
    return Video(np.stack(frames), rate)


def probe(path: Path | str) -> VideoInfo:
    """Return frame rate, frame count and size of a file, by decoding it frame after frame.

    Raises:
        CacError: as `decode`.
    """
    sizes, rate = _read(Path(path), lambda frame: (frame.width, frame.height))
    return VideoInfo(rate, len(sizes), *sizes[0])


def _read(path: Path, keep: Callable[[Any], Any]) -> tuple[list[Any], float]:
    """Decode a file and return what `keep` makes of each frame, and the frame rate."""
    import av

    if not path.is_file():
        raise CacError(f"no video file at {path}.")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video or container.format.name in _TEXT_ART:
                raise CacError(f"{path} has no video stream; give a video file such as mp4, mov or webm.")
            stream = container.streams.video[0]
            rate = stream.average_rate
            kept = [keep(frame) for frame in container.decode(stream)]
    except av.FFmpegError as error:
        raise CacError(f"{path} cannot be decoded as video: {error.strerror}. Is the file a whole video?") from error
    if not kept or not rate:
        raise CacError(f"{path} holds no decodable frame.")
    return kept, float(rate)


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
