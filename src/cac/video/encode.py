"""Writing video files with PyAV, so that the same frames give the same bytes."""

from fractions import Fraction
from pathlib import Path

import numpy as np

# One thread and cpu-independent: x264 then writes the same bytes on every run and every x86-64 machine.
_X264_OPTIONS = {"crf": "12", "preset": "medium", "threads": "1", "x264-params": "cpu-independent=1"}


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
