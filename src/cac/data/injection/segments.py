"""Cut a video into segments of a few seconds without scene cuts.

Out of scope: reading files (`normalise.py`), and what is done with a segment.
"""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

MIN_FRAMES = 16  # frames; a window needs frames around it
_THUMB = (32, 32)
_CUT = 28.0  # mean difference of two frames' thumbnails, of 255
_CUT_RATIO = 3.0  # and how many times that of the two frames before


def cut_segments(frames: Iterable[np.ndarray], longest: int) -> Iterator[np.ndarray]:
    """Yield segments, uint8 (frames, height, width, 3), of at most `longest` frames, in order.

    A scene cut ends a segment early, and so does a change of the frame's size. Short ones are yielded
    too; the caller refuses them with a reason.
    """
    kept: list[np.ndarray] = []
    before, usual = None, 0.0
    for frame in frames:
        thumb = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), _THUMB, interpolation=cv2.INTER_AREA).astype(float)
        change = 0.0 if before is None else float(np.abs(thumb - before).mean())
        cut = change > _CUT and change > _CUT_RATIO * usual
        if kept and (cut or len(kept) == longest or frame.shape != kept[0].shape):
            yield np.stack(kept)
            kept = []
        kept.append(frame)
        before, usual = thumb, change
    if kept:
        yield np.stack(kept)
