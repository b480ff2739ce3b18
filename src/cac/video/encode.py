"""Writing video files with PyAV, so that the same frames give the same bytes."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np

# One thread and cpu-independent: x264 then writes the same bytes on every run and every x86-64 machine.
_CLOCK = Fraction(1, 90_000)  # seconds; that of MPEG
_X264_OPTIONS = {"crf": "12", "preset": "medium", "threads": "1", "x264-params": "cpu-independent=1"}


def encode(
    path: Path | str,
    frames: Iterable[np.ndarray],
    fps: float,
    pix_fmt: str = "yuv444p",
    times: Sequence[float] | None = None,
) -> None:
    """Write frames as H.264 mp4, one after the other; the same frames give the same bytes.

    Args:
        path: the file.
        frames: uint8, each of shape (height, width, 3); at least one.
        fps: frames a second.
        pix_fmt: yuv444p keeps the colours of small objects; browsers play only yuv420p, which needs even sides.
        times: of the frames in seconds, if their rate varies.
    """
    import av

    rest = iter(frames)
    first = next(rest)

    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=_X264_OPTIONS)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = pix_fmt
        if times is not None:
            stream.codec_context.time_base = _CLOCK
        for number, array in enumerate(chain([first], rest)):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(times[number] / _CLOCK), _CLOCK
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
