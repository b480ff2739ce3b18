"""The frame sampler: pure functions from a clip's frame count and frame rate to frame indices.

This module alone decides which frames a model sees. `views.py` turns the indices into resized images.
"""

from collections.abc import Sequence

from cac.schema.geometry import Window, merge_windows


def spread_indices(frame_count: int, count: int, phase: float = 0.5) -> list[int]:
    """Return `count` frame indices spread evenly over a clip, sorted and unique.

    The clip is cut into `count` equal parts and the frame at `phase` (in [0, 1)) of each part is taken; a clip shorter
    than `count` gives all its frames.
    """
    if frame_count <= count:
        return list(range(frame_count))
    return [int((part + phase) * frame_count / count) for part in range(count)]


def dense_indices(windows: Sequence[Window], frame_count: int, fps: float, count: int) -> list[int]:
    """Return up to `count` frame indices inside the windows, sorted and unique.

    Windows are cut to the clip. If they hold fewer than `count` frames they are widened evenly to both sides, so that
    the second look always has `count` frames if the clip does; windows that fall between frames start from the frames
    nearest to their middles. Without a window in the clip the whole clip is taken at a phase that differs from the
    coarse scan's.
    """
    cut = [(max(0.0, start), min(frame_count / fps, end)) for start, end in merge_windows(windows)]
    spans = [(start, end) for start, end in cut if start < end]
    if not spans:
        return spread_indices(frame_count, count, phase=0.0)
    inside = [i for i in range(frame_count) if any(start - 1e-6 <= i / fps < end - 1e-6 for start, end in spans)]
    if not inside:
        inside = sorted({min(frame_count - 1, round((start + end) / 2 * fps)) for start, end in spans})
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
