"""The frame sampler: pure functions from the times of a clip's frames to frame indices.

This module alone decides which frames a model sees. `views.py` turns the indices into resized images.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence

from cac.frames import Frames
from cac.schema.geometry import Window, cut_windows, merge_windows, total_length

FEWEST = 4  # frames of a turn where a rate would give fewer


def coarse_indices(frame_count: int, duration: float, frames: Frames) -> list[int]:
    """Return the indices of the scan's frames: spread evenly over a clip or segment of `duration` seconds."""
    return spread_indices(frame_count, _count(duration, frames.coarse_rate, frames.coarse_count))


def only_indices(frame_count: int, duration: float, frames: Frames) -> list[int]:
    """Return the indices of the frames of a single look: as many as two looks have together at the most."""
    coarse = _count(duration, frames.coarse_rate, frames.coarse_count)
    return spread_indices(frame_count, coarse + frames.dense_count)


def look_indices(windows: Sequence[Window], times: Sequence[float], duration: float, frames: Frames) -> list[int]:
    """Return the indices of the second look's frames: inside the windows, or over the whole clip without any.

    Arguments as in `dense_indices`.
    """
    seconds = total_length(cut_windows(windows, duration)) or duration
    return dense_indices(windows, times, duration, _count(seconds, frames.dense_rate, frames.dense_count))


def _count(seconds: float, rate: float | None, most: int) -> int:
    """Return how many frames to show of so many seconds."""
    if rate is None:
        return most
    return min(most, max(FEWEST, math.ceil(seconds * rate - 1e-9)))


def spread_indices(frame_count: int, count: int, phase: float = 0.5) -> list[int]:
    """Return `count` frame indices spread evenly over a clip, sorted and unique.

    The clip is cut into `count` equal parts and the frame at `phase` (in [0, 1)) of each part is taken; a clip shorter
    than `count` gives all its frames.
    """
    if frame_count <= count:
        return list(range(frame_count))
    return [int((part + phase) * frame_count / count) for part in range(count)]


def even_times(frame_count: int, fps: float) -> list[float]:
    """Return the time in seconds of each frame of a clip with a constant rate."""
    return [index / fps for index in range(frame_count)]


def dense_indices(windows: Sequence[Window], times: Sequence[float], duration: float, count: int) -> list[int]:
    """Return up to `count` frame indices inside the windows, sorted and unique.

    Args:
        windows: start and end in seconds.
        times: of the clip's frames in seconds, sorted.
        duration: of the clip in seconds.
        count: how many frames.

    Windows are cut to the clip. If they hold fewer than `count` frames they are widened evenly to both sides, so that
    the second look always has `count` frames if the clip does; windows that fall between frames start from the frames
    nearest to their middles. Without a window in the clip the whole clip is taken at a phase that differs from the
    coarse scan's.
    """
    frame_count = len(times)
    cut = [(max(0.0, start), min(duration, end)) for start, end in merge_windows(windows)]
    spans = [(start, end) for start, end in cut if start < end]
    if not spans:
        return spread_indices(frame_count, count, phase=0.0)
    inside = [i for i in range(frame_count) if any(start - 1e-6 <= times[i] < end - 1e-6 for start, end in spans)]
    if not inside:
        inside = sorted({_nearest(times, (start + end) / 2) for start, end in spans})
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


def _nearest(times: Sequence[float], time: float) -> int:
    """Return the index of the frame nearest to a time; of two equally near, the even one, as `round` does."""
    after = min(bisect_left(times, time), len(times) - 1)
    before = max(0, after - 1)
    early, late = time - times[before], times[after] - time
    if abs(early - late) < 1e-9:
        return before if before % 2 == 0 else after
    return before if early < late else after
