"""The region a defect is made in: chosen where an object moves, and tracked through the segment.

A region is a soft shape and its centre in each frame. Centres are whole pixels, so that copying the region does not
blur it. Out of scope: what is done to the region.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from cac.data.injection.motion import Motion

MIN_VISIBLE = 0.6  # share of the shape that must lie in the frame
_CANDIDATES = 6
_NEARLY = 0.6  # of the best score; a position with less may be the edge of the same object
_MIN_TEXTURE = 8.0  # standard deviation of grey levels inside; in flat areas no edit shows
_RADII = (0.17, 0.27)  # of the frame's shorter side


class NoRegionError(Exception):
    """No region of this segment is suitable; the message says why."""


@dataclass(frozen=True)
class Region:
    """A soft shape that is tracked.

    Attributes:
        shape: float32 (height, width) in [0, 1], odd sides, its middle the centre.
        centres: int (frames, 2): x and y in each frame of the segment.
        size: (width, height) of the frame.
    """

    shape: np.ndarray
    centres: np.ndarray
    size: tuple[int, int]

    @property
    def radius(self) -> float:
        """Half the mean side of the shape's core, in pixels."""
        return float(np.sqrt((self.shape > 0.5).sum() / np.pi))

    def mask(self, t: int, offset: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Return the shape in frame `t`, moved by `offset` (x, y): float32 (height, width) of the frame."""
        x, y = self.centres[t] + np.array(offset)
        return paste_shape(self.shape, (int(x), int(y)), self.size)

    def visible(self, t: int, offset: tuple[int, int] = (0, 0)) -> float:
        """Return the share of the shape that lies in frame `t`, in [0, 1]."""
        return float(self.mask(t, offset).sum() / self.shape.sum())

    def travel(self, first: int, last: int) -> float:
        """Return the largest distance of the centre from its position in frame `first`, until `last`, in pixels."""
        away = self.centres[first : last + 1] - self.centres[first]
        return float(np.linalg.norm(away, axis=1).max())


def paste_shape(shape: np.ndarray, centre: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Return a canvas of `size` (width, height) with the shape at `centre` (x, y), cut where the canvas ends."""
    width, height = size
    rows, columns = shape.shape
    canvas = np.zeros((height, width), dtype=np.float32)
    left, top = centre[0] - columns // 2, centre[1] - rows // 2
    x1, y1, x2, y2 = max(0, left), max(0, top), min(width, left + columns), min(height, top + rows)
    if x1 < x2 and y1 < y2:
        canvas[y1:y2, x1:x2] = shape[y1 - top : y2 - top, x1 - left : x2 - left]
    return canvas


def choose_region(
    frames: np.ndarray, motion: Motion, window: tuple[int, int], min_travel: float, rng: np.random.Generator
) -> Region:
    """Return a region of a moving object in the window's frames [first, last], or else of rich texture.

    `min_travel` is how far it must move within the window, in radii.

    Raises:
        NoRegionError: every candidate is flat, leaves the frame within the window, or does not get far enough.
    """
    first = window[0]
    short = min(frames.shape[1:3])
    radii = rng.uniform(*_RADII) * short * np.sqrt(np.array([(r := rng.uniform(0.75, 1.33)), 1 / r]))
    score = _score(frames[first], motion.object_motion[first : first + 3].mean(axis=0), radii)
    reasons = []
    for x, y in _peaks(score, radii, rng):
        region = follow(_shape(frames[first], motion.flow[first], (x, y), radii), (x, y), first, motion.flow)
        reason = _reason_unusable(region, frames, window, min_travel)
        if reason is None:
            return region
        reasons.append(reason)
    raise NoRegionError(max(set(reasons), key=reasons.count))


def follow(shape: np.ndarray, centre: tuple[int, int], start: int, flow: np.ndarray) -> Region:
    """Return the region at `centre` in frame `start`, tracked along the flow to both ends of the segment."""
    height, width = flow.shape[1:3]
    centres = np.zeros((len(flow) + 1, 2))
    centres[start] = centre
    for t in range(start, len(flow)):
        centres[t + 1] = centres[t] + _shift(shape, centres[t], flow[t])
    for t in range(start, 0, -1):
        centres[t - 1] = centres[t] - _shift(shape, centres[t], flow[t - 1])
    return Region(shape, np.round(centres).astype(int), (width, height))


def _shift(shape: np.ndarray, centre: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Return the median flow inside the shape; none where it has left the frame."""
    height, width = field.shape[:2]
    inside = paste_shape(shape, (round(centre[0]), round(centre[1])), (width, height)) > 0.5
    return np.median(field[inside], axis=0) if inside.any() else np.zeros(2)


def _score(frame: np.ndarray, own: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return how much a region around each pixel moves, with a little for texture, 0 too near the border."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    box = (int(radii[0]) | 1, int(radii[1]) | 1)  # of half its size: with more, a place beside the thing scores too
    mean = cv2.blur(grey, box)
    texture = np.sqrt(np.maximum(0, cv2.blur(grey**2, box) - mean**2))
    score = cv2.blur(np.minimum(own, 4.0), box) * np.minimum(1, texture / 20) + 0.002 * texture
    x, y = (int(0.8 * radius) + 1 for radius in radii)
    inner: np.ndarray = np.zeros_like(score)
    inner[y:-y, x:-x] = score[y:-y, x:-x]
    return inner


def _peaks(score: np.ndarray, radii: np.ndarray, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return the best positions (x, y), apart from each other; the first is drawn from those nearly as good."""
    left, peaks, values = score.copy(), [], []
    apart = (int(1.5 * radii[0]), int(1.5 * radii[1]))
    for _ in range(_CANDIDATES):
        y, x = np.unravel_index(int(left.argmax()), left.shape)
        if left[y, x] <= 0:
            break
        peaks.append((int(x), int(y)))
        values.append(float(left[y, x]))
        cv2.ellipse(left, peaks[-1], apart, 0, 0, 360, 0, -1)
    if not peaks:
        raise NoRegionError("nothing in it moves or has texture")
    drawn = int(rng.integers(sum(value >= _NEARLY * values[0] for value in values)))
    return [peaks[drawn], *peaks[:drawn], *peaks[drawn + 1 :]]


def _shape(frame: np.ndarray, field: np.ndarray, centre: tuple[int, int], radii: np.ndarray) -> np.ndarray:
    """Return a soft shape: the object at the centre if its outline can be found, else an ellipse."""
    half = np.ceil(radii * 1.8).astype(int)
    ys, xs = np.mgrid[-half[1] : half[1] + 1, -half[0] : half[0] + 1].astype(np.float32)
    distance = np.hypot(xs / radii[0], ys / radii[1])
    maps = (xs + np.float32(centre[0]), ys + np.float32(centre[1]))
    patch = cv2.remap(frame, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    around = cv2.remap(field, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    chosen = _outlined(patch, around, distance)
    inside = distance <= 1
    if not 0.4 * inside.sum() <= chosen.sum() <= 1.6 * inside.sum():
        chosen = inside
    soft = cv2.GaussianBlur(chosen.astype(np.float32), (0, 0), max(1.0, 0.1 * float(radii.min())))
    return np.where(soft < 0.02, 0, soft).astype(np.float32)


def _outlined(patch: np.ndarray, around: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Return the object in the patch's middle, by colour and motion: booleans (height, width)."""
    core = np.median(around[distance < 0.4], axis=0)
    unlike = np.linalg.norm(around - core, axis=-1) > max(0.6, 0.6 * float(np.linalg.norm(core)))
    labels = np.full(distance.shape, cv2.GC_PR_BGD, np.uint8)
    labels[(distance < 1.1) & ~unlike] = cv2.GC_PR_FGD
    labels[distance < 0.4] = cv2.GC_FGD
    labels[distance > 1.5] = cv2.GC_BGD
    cv2.setRNGSeed(0)  # GrabCut draws from OpenCV's own generator
    cv2.grabCut(patch, labels, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 2, cv2.GC_INIT_WITH_MASK)
    mine = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    found = cv2.morphologyEx(cv2.morphologyEx(mine, cv2.MORPH_OPEN, kernel), cv2.MORPH_CLOSE, kernel)
    _, parts = cv2.connectedComponents(found)
    middle = parts[parts.shape[0] // 2, parts.shape[1] // 2]
    return (parts == middle) if middle else np.zeros(distance.shape, dtype=bool)


def _reason_unusable(region: Region, frames: np.ndarray, window: tuple[int, int], min_travel: float) -> str | None:
    first, last = window
    if min(region.visible(t) for t in range(first, last + 1)) < MIN_VISIBLE:
        return "what moves leaves the frame"
    grey = cv2.cvtColor(frames[first], cv2.COLOR_RGB2GRAY)
    if grey[region.mask(first) > 0.5].std() < _MIN_TEXTURE:
        return "what moves is flat, without texture"
    if region.travel(first, last) < min_travel * region.radius:
        return "nothing moves far enough"
    return None
