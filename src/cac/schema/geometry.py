"""Overlap of time windows and of boxes. Pure functions, no settings.

Windows are (start, end) in seconds with start <= end; boxes are (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2, in any one
unit. Empty overlap is 0, and so is every measure of a zero-size shape.
"""

from collections.abc import Sequence

import numpy as np

Window = tuple[float, float]
Box = tuple[float, float, float, float]


def merge_windows(windows: Sequence[Window]) -> list[Window]:
    """Return the union of the windows as sorted, disjoint windows."""
    merged: list[Window] = []
    for start, end in sorted(windows):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def total_length(windows: Sequence[Window]) -> float:
    """Return the seconds covered by the union of the windows."""
    return sum(end - start for start, end in merge_windows(windows))


def overlap_length(first: Sequence[Window], second: Sequence[Window]) -> float:
    """Return the seconds that both sets of windows cover; each set is merged first."""
    return sum(
        max(0.0, min(end, other_end) - max(start, other_start))
        for start, end in merge_windows(first)
        for other_start, other_end in merge_windows(second)
    )


def cut_windows(windows: Sequence[Window], duration: float) -> list[Window]:
    """Return the parts of the windows within a clip of `duration` seconds, merged."""
    cut = [(max(0.0, start), min(end, duration)) for start, end in merge_windows(windows)]
    return [(start, end) for start, end in cut if start < end]


def temporal_iou(predicted: Sequence[Window], truth: Sequence[Window]) -> float:
    """Intersection over union of two sets of windows, in [0, 1].

    Each set is merged first, so overlapping guesses earn nothing twice.
    """
    overlap = overlap_length(predicted, truth)
    union = total_length(predicted) + total_length(truth) - overlap
    return min(1.0, overlap / union) if union > 0 else 0.0


def box_area(box: Box) -> float:
    """Return the area of a box, 0 for an inverted one."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    overlap = box_area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    union = box_area(a) + box_area(b) - overlap
    return min(1.0, overlap / union) if union > 0 else 0.0


def cell_shares(box: Box, rows: int, columns: int) -> np.ndarray:
    """Return which share of each cell of a grid over the frame a box in [0, 1] covers: (rows, columns), in [0, 1]."""
    wide = _covered(box[0], box[2], columns)
    high = _covered(box[1], box[3], rows)
    result: np.ndarray = high[:, None] * wide[None, :]
    return result


def _covered(start: float, end: float, cells: int) -> np.ndarray:
    """Return which share of each of `cells` equal parts of [0, 1] lies between start and end."""
    edges = np.arange(cells + 1) / cells
    result: np.ndarray = np.clip(np.minimum(end, edges[1:]) - np.maximum(start, edges[:-1]), 0, None) * cells
    return result


def interpolate_box(a: Box, b: Box, weight: float) -> Box:
    """Return the box `weight` of the way from `a` to `b`, weight in [0, 1]."""
    x1, y1, x2, y2 = (start + (end - start) * weight for start, end in zip(a, b, strict=True))
    return (x1, y1, x2, y2)


def rounded_box(box: Box, digits: int = 4) -> Box:
    """Return the box with its coordinates rounded."""
    x1, y1, x2, y2 = (round(value, digits) for value in box)
    return (x1, y1, x2, y2)
