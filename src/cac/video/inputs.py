"""The forms in which a user may give a video, and the one way they become frames.

A path, the content of a file, the address of an S3 object, or an array with its frame rate. Addresses of the web are
refused: whoever lets others name them lets them reach into its network. Out of scope: prompts, which the reward model
does not judge.
"""

from pathlib import Path
from typing import Any

import numpy as np

from cac.errors import CacError
from cac.io.s3 import SCHEME, read_object
from cac.video.decode import AnyVideo, Video, open_video
from cac.video.stream import Limits

FORMS = "a path, bytes, an s3://bucket/key address, or a uint8 array (frames, height, width, 3) with its fps"


def read_video(source: Any, fps: float | None = None, limits: Limits | None = None) -> AnyVideo:
    """Return a video given in any of the forms.

    Args:
        source: a path (str or Path), the content of a video file (bytes), `s3://bucket/key`, or an array.
        fps: frames a second of an array; None with the other forms, which have their own.
        limits: what it may be at most; None: anything.

    Raises:
        CacError: it is none of these, or cannot be read.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, fps, limits)
    if fps is not None:
        raise CacError(f"fps {fps} was given with a video file, which has its own. Give fps with arrays only.")
    if isinstance(source, bytes | bytearray | memoryview):
        return open_video(bytes(source), limits)
    if isinstance(source, Path):
        return open_video(source, limits)
    if not isinstance(source, str):
        raise CacError(f"{type(source).__name__} is no video. Give {FORMS}.")
    if source.startswith(SCHEME):
        return open_video(read_object(source), limits, name=source)
    if "://" in source:
        raise CacError(f"{source} is not read: of addresses, only s3://bucket/key is. Give {FORMS}.")
    return open_video(source, limits)


def _from_array(frames: np.ndarray, fps: float | None, limits: Limits | None) -> Video:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise CacError(f"an array of {frames.dtype} {frames.shape} is no video. Give uint8 (frames, height, width, 3).")
    if not isinstance(fps, int | float | np.number) or not (np.isfinite(fps) and fps > 0):
        raise CacError(f"an array's frame rate is {fps}. Give fps, frames a second, above 0.")
    video = Video(frames, float(fps))
    if limits is not None:
        limits.check("the array", video.duration, frames.shape[1] * frames.shape[2], len(frames))
    return video
