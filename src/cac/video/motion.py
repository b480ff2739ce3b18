"""How much moves in a video, as one number that is hard to earn without moving anything.

A judge of anomalies is best pleased by a still video, so whoever optimises against it needs a price for standing still.
The number is the speed of dense optical flow (Farnebäck 2003, "Two-Frame Motion Estimation Based on Polynomial
Expansion", OpenCV's), in frame diagonals a second, averaged over the whole picture. Plain frame differences would be
cheaper and would pay for flicker and noise. Four things make it robust:

- frames are taken at about 8 a second and 64 pixels, so frame rate and size hardly matter;
- each is averaged with its neighbours (1, 2, 1), which wipes out what flickers or shakes from frame to frame, and
  most of noise;
- less than 0.2 pixels between two frames counts as none: compression and noise;
- the fastest quarter of the frame pairs is ignored, so a cut or a jump does not count as motion.

Limitation: a moving camera or slow shaking cannot be distinguished from moving objects; both count.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

import numpy as np

from cac.errors import CacError
from cac.video.decode import AnyVideo

_RATE = 8.0  # frames a second
_SIDE = 64  # the longer side, pixels
_LEAST = 0.2  # pixels between two frames
_TRIMMED_RATIO = 0.25  # of the frame pairs: those with the largest shifts


def mean_motion(video: AnyVideo, seconds: float = math.inf) -> float:
    """Return the mean speed of what is seen in the first `seconds`, in frame diagonals a second, >= 0.

    Zero for a still video, and for one of fewer than five frames at 8 frames a second, which shows too little to tell.
    """
    step = max(1, round(video.fps / _RATE))
    indices = [index for index in range(0, video.frame_count, step) if video.times[index] < seconds]
    frames = _smoothed([_small_grey(frame) for frame in video.frames_at(indices, 2 * _SIDE)])
    shifts = sorted(_mean_shift(before, after) for before, after in pairwise(frames))
    kept = shifts[: len(shifts) - math.ceil(_TRIMMED_RATIO * len(shifts))]
    if not kept:
        return 0.0
    return fmean(kept) / math.hypot(*frames[0].shape) * video.fps / step


def reference_motion(videos: Sequence[AnyVideo]) -> float:
    """Return the median motion of some videos: how much a generator moves before it is trained.

    Raises:
        CacError: there is no video, or half of them are still.
    """
    if not videos:
        raise CacError("no video to measure the reference motion on. Give some of the untrained generator's.")
    reference = median(mean_motion(video) for video in videos)
    if reference == 0:
        raise CacError(f"half of these {len(videos)} videos are still, so they are no reference for motion.")
    return reference


def _small_grey(frame: np.ndarray) -> np.ndarray:
    """Return a uint8 RGB frame in grey, its longer side `_SIDE` pixels."""
    import cv2

    height, width = frame.shape[:2]
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)


def _smoothed(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Average each frame but the first and the last with its neighbours, weights 1, 2, 1."""
    wide = [frame.astype(np.uint16) for frame in frames]
    triples = zip(wide, wide[1:], wide[2:], strict=False)
    return [((before + 2 * frame + after + 2) // 4).astype(np.uint8) for before, frame, after in triples]


def _mean_shift(before: np.ndarray, after: np.ndarray) -> float:
    """Return by how many pixels the picture moves from one frame to the next, averaged over its area."""
    import cv2

    if np.array_equal(before, after):
        return 0.0  # in fine noise rounding alone gives a little flow
    flow = cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 3, 15, 2, 5, 1.2, 0)  # type: ignore[call-overload]
    lengths = np.linalg.norm(flow, axis=-1)
    return float(np.where(lengths < _LEAST, 0.0, lengths).mean())
