"""Fill the hole that a removed region leaves, so that it looks like its surroundings.

Inpainting alone leaves a smooth spot, which is an artefact itself. So inpainting gives only the slow changes of colour;
the fine texture is copied from beside the hole, from the same offset in every frame of the window.
"""

import cv2
import numpy as np

from cac.data.injection.region import Region

_DIRECTIONS = 12
_DISTANCES = (2.2, 2.8)  # of the region's radius
_HOLE = 0.02


def find_donor(frames: np.ndarray, region: Region, window: tuple[int, int]) -> tuple[int, int]:
    """Return the offset (x, y), in pixels, of the patch beside the region whose colours fit best.

    Patches are compared in the window's first and last frame; one that leaves the frame is a last resort.
    """
    best, chosen = np.inf, (0, 0)
    for distance in _DISTANCES:
        for angle in np.arange(_DIRECTIONS) * 2 * np.pi / _DIRECTIONS:
            length = distance * region.radius
            offset = (round(float(np.cos(angle) * length)), round(float(np.sin(angle) * length)))
            cost = sum(_cost(frames[t], region, t, offset) for t in window)
            if cost < best:
                best, chosen = cost, offset
    return chosen


def _cost(frame: np.ndarray, region: Region, t: int, offset: tuple[int, int]) -> float:
    mask = region.mask(t)
    kernel = np.ones((9, 9), np.uint8)
    ring = (cv2.dilate(mask, kernel) > 0.1) & (mask < 0.1)
    there = region.mask(t, offset) > 0.5
    missing = 1 - region.visible(t, offset)
    if not ring.any() or not there.any():
        return 1e6
    return float(np.abs(frame[ring].mean(axis=0) - frame[there].mean(axis=0)).sum()) + 1000 * missing


def fill_hole(frame: np.ndarray, mask: np.ndarray, donor: tuple[int, int]) -> np.ndarray:
    """Return the frame, float32, with the mask's support filled; `donor` is the offset of the fine texture."""
    hole = (mask > _HOLE).astype(np.uint8)
    if not hole.any():
        return frame.astype(np.float32)
    smooth = max(1.5, 0.12 * float(np.sqrt(hole.sum())))
    slow = cv2.GaussianBlur(_inpainted(frame, hole), (0, 0), smooth)
    matrix = np.array([[1, 0, -donor[0]], [0, 1, -donor[1]]], np.float32)
    size = (frame.shape[1], frame.shape[0])
    beside = cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
    fine = beside.astype(np.float32) - cv2.GaussianBlur(beside.astype(np.float32), (0, 0), smooth)
    return np.clip(slow + fine, 0, 255)


def _inpainted(frame: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Inpaint at half size: only slow changes are used, and it costs a quarter."""
    half = (frame.shape[1] // 2, frame.shape[0] // 2)
    small = cv2.resize(frame, half, interpolation=cv2.INTER_AREA)
    small_hole = (cv2.resize(hole * 255, half, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    done = cv2.inpaint(small, small_hole, 4, cv2.INPAINT_TELEA)
    return cv2.resize(done, (frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_LINEAR).astype(np.float32)
