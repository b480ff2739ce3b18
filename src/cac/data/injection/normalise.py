"""Normalise ordinary video files: upright, at a constant frame rate, and of limited size.

Frames are read one at a time, so that a file of any length needs the memory of a few frames. Rotation metadata is
applied; a variable frame rate is resampled by repeating frames. Changes are kept as notes. Out of scope: sound, and
whether the content is useful.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from cac.errors import CacError

MAX_RATE = 30  # frames a second; what is faster is thinned out
MAX_PIXELS = 40_000_000  # of one decoded frame; 8K has 33 million
MAX_HOLD = 1.0  # seconds that one frame may stand for; a longer gap in the time stamps is closed

_TEXT_ART = frozenset({"tty", "bin", "xbin", "adf", "idf"})  # FFmpeg plays text files as terminal art


@dataclass
class NormalisedVideo:
    """A file that is normalised while it is read: iterate over `frames()` once.

    Attributes:
        path: the file.
        fps: the constant rate of the frames given, at most `MAX_RATE`.
        notes: what was changed, in words; complete when all frames are read.
    """

    path: Path
    size: int
    fps: float = 0.0
    notes: list[str] = field(default_factory=list)

    def frames(self) -> Iterator[np.ndarray]:
        """Yield frames, uint8 (height, width, 3), upright, the longer side at most `size` and both sides even.

        Raises:
            CacError: the file is not a video, is truncated, has no frame, or its frames are too large.
        """
        import av

        # No protocol is allowed: the file's content, such as a playlist, must not open another file.
        closed = {"protocol_whitelist": "none"}
        try:
            with self.path.open("rb") as file, av.open(file, options=closed, metadata_errors="replace") as container:
                if not container.streams.video or container.format.name in _TEXT_ART:
                    raise CacError(f"{self.path} has no video stream; give video files such as mp4, mov or webm.")
                yield from self._resampled(container, container.streams.video[0])
        except (av.FFmpegError, ValueError, OSError) as error:
            said = getattr(error, "strerror", None) or error
            raise CacError(f"{self.path} cannot be decoded: {said}. Is the file a whole video?") from error

    def _resampled(self, container: Any, stream: Any) -> Iterator[np.ndarray]:
        if stream.codec_context is None:
            raise CacError(f"{self.path} has an unknown codec. Encode it again, for example as H.264.")
        self._check_size(stream.codec_context.width, stream.codec_context.height)
        rate = self._source_rate(stream)
        self.fps = self._constant_rate(stream, rate)
        held, shown, seconds = None, 0, 0.0
        # Up to a frame's time the one before is shown; a thousandth of a frame forgives rounded time stamps.
        for seconds, frame in self._timed(container, stream, 1 / rate):
            while held is not None and (shown + 1e-3) / self.fps < seconds:
                yield held
                shown += 1
            held = self._upright(frame)
        if held is None:
            raise CacError(f"{self.path} holds no decodable frame. Is the file a whole video?")
        if (shown + 1e-3) / self.fps < seconds + 1 / rate:
            yield held

    def _source_rate(self, stream: Any) -> float:
        """Return the first plausible rate of the file; a gap in the time stamps makes the average wrong."""
        rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
        usable = [float(rate) for rate in rates if rate and 0.5 <= rate <= 1000]
        if not usable:
            raise CacError(f"{self.path} has no usable frame rate. Encode it again with a constant rate.")
        return usable[0]

    def _constant_rate(self, stream: Any, rate: float) -> float:
        steady = stream.base_rate is None or abs(float(stream.base_rate) / rate - 1) < 0.01
        if not steady:
            self._note(f"variable frame rate ({rate:.2f} on average) made constant")
        target = Fraction(rate).limit_denominator(1001) if steady else Fraction(max(1, round(rate)))
        if target > MAX_RATE:
            self._note(f"{float(target):.4g} frames a second thinned out to {MAX_RATE}")
            target = Fraction(MAX_RATE)
        return float(target)

    def _timed(self, container: Any, stream: Any, step: float) -> Iterator[tuple[float, Any]]:
        """Yield (seconds from the first frame, frame); without a time stamp a frame is a `step` after the last."""
        now, last = -step, None
        for frame in container.decode(stream):
            self._check_size(frame.width, frame.height)
            passed = step if frame.time is None or last is None else frame.time - last
            if not 0 <= passed <= MAX_HOLD:
                self._note("a gap in the time stamps closed")
                passed = step
            now, last = now + passed, frame.time
            yield now, frame

    def _check_size(self, width: int, height: int) -> None:
        if width * height > MAX_PIXELS:
            raise CacError(
                f"{self.path} has frames of {width}x{height}, more than {MAX_PIXELS // 1_000_000} million pixels. "
                "Scale it down first."
            )

    def _upright(self, frame: Any) -> np.ndarray:
        turns = round(frame.rotation / 90) % 4
        if turns:
            self._note(f"turned upright by {turns * 90} degrees")
        scale = min(1.0, self.size / max(frame.width, frame.height))
        width, height = (max(2, round(side * scale / 2) * 2) for side in (frame.width, frame.height))
        small = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA").to_ndarray()
        return np.ascontiguousarray(np.rot90(small, turns))

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
