"""Motion in a segment: dense optical flow, the camera's part of it, and the rest, the motion of objects.

Flow is in pixels a frame. Out of scope: which moving region is chosen (`region.py`).
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

_GRID = 8  # pixels between the places the camera's motion is fitted on
_ROUNDS = 3


@dataclass(frozen=True)
class Motion:
    """Flow of a segment of n frames.

    Attributes:
        flow: float32 (n - 1, height, width, 2): motion of each pixel, as (x, y), from a frame to the next.
        object_motion: float32 (n - 1, height, width): length of the flow without the camera's part.
    """

    flow: np.ndarray
    object_motion: np.ndarray

    def cropped(self, crop: tuple[slice, slice]) -> "Motion":
        """Return the motion of a part of the frame, given as slices of its rows and columns."""
        return Motion(self.flow[:, *crop], self.object_motion[:, *crop])


def measure_motion(frames: np.ndarray) -> Motion:
    """Return the flow of a segment, uint8 (n, height, width, 3), n >= 2."""
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    # None: no flow to start from; OpenCV's stubs do not know of it.
    flow = np.stack([finder.calc(one, other, None) for one, other in pairwise(grey)])  # type: ignore[call-overload]
    own = np.stack([np.linalg.norm(field - camera_flow(field), axis=-1) for field in flow])
    return Motion(flow.astype(np.float32), own.astype(np.float32))


def camera_flow(field: np.ndarray) -> np.ndarray:
    """Return the flow (height, width, 2) of the affine motion that fits most of the field."""
    height, width = field.shape[:2]
    ys, xs = np.mgrid[0:height:_GRID, 0:width:_GRID]
    places = np.stack([np.ones(xs.size), xs.ravel() / width, ys.ravel() / height], axis=1)
    moved = field[ys.ravel(), xs.ravel()].astype(float)
    use = np.ones(len(places), dtype=bool)
    for _ in range(_ROUNDS):
        fit = np.linalg.lstsq(places[use], moved[use], rcond=None)[0]
        missed = np.linalg.norm(moved - places @ fit, axis=1)
        use = missed <= max(0.2, 1.5 * float(np.median(missed)))
    rows, columns = np.arange(height)[:, None, None] / height, np.arange(width)[None, :, None] / width
    flow: np.ndarray = fit[0] + columns * fit[1] + rows * fit[2]
    return flow
