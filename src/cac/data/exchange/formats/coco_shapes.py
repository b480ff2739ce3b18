"""The boxes of COCO's annotations: their `bbox`, or the box around their `segmentation`.

A segmentation is a list of polygons, or a mask as run lengths column by column, plain or in the COCO API's text form
(six bits a character, five of them digits, each length from the third on relative to the last but one).
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from cac.data.exchange.parse import as_box, as_frame, as_list_of_numbers, as_number
from cac.data.exchange.unusable import UnusableError
from cac.schema.geometry import Box

MASK_CHANGE = "box of a mask"
POLYGON_CHANGE = "box of a polygon"
CROWD_CHANGE = "one box for a crowd"
_UNREADABLE = "a mask whose run lengths cannot be read"
_MAX_RUNS = 10_000_000


def shape_box(bbox: Any, segmentation: Any) -> tuple[Box, tuple[str, ...]]:
    """Return the box (x1, y1, x2, y2) in pixels of an annotation, and what was done to get it.

    Raises:
        UnusableError: there is none, or it cannot be read.
    """
    if bbox is not None:
        x, y, width, height = as_box(bbox)
        if width < 0 or height < 0:
            raise UnusableError("a box with a negative side")
        return (x, y, x + width, y + height), ()
    if isinstance(segmentation, Mapping):
        return mask_box(segmentation), (MASK_CHANGE,)
    if isinstance(segmentation, list) and segmentation:
        return polygon_box(segmentation), (POLYGON_CHANGE,)
    raise UnusableError("an annotation without a bbox or a segmentation")


def polygon_box(polygons: Sequence[Any]) -> Box:
    """Return the box around polygons, each a flat list x, y, x, y, …"""
    parts = polygons if all(isinstance(part, list) for part in polygons) else [polygons]
    numbers = [as_list_of_numbers(part) for part in parts]
    if not all(part and len(part) % 2 == 0 for part in numbers):
        raise UnusableError("a polygon that is no list of points")
    xs, ys = [x for part in numbers for x in part[::2]], [y for part in numbers for y in part[1::2]]
    return (min(xs), min(ys), max(xs), max(ys))


def mask_box(mask: Mapping[str, Any]) -> Box:
    """Return the box around the pixels of a mask of run lengths, `size` [height, width] and `counts`.

    Raises:
        UnusableError: the run lengths do not fill the mask, or none of its pixels is set.
    """
    size, counts = mask.get("size"), mask.get("counts")
    if not isinstance(size, list) or len(size) != 2:
        raise UnusableError("a mask without a size")
    height, width = (as_frame(side) for side in size)
    runs = _text_runs(counts) if isinstance(counts, str) else [int(as_number(n)) for n in _list_of(counts)]
    if height < 1 or width < 1 or min(runs, default=-1) < 0 or sum(runs) != height * width:
        raise UnusableError(_UNREADABLE)
    ends = list(accumulate(runs))
    spans = [(start, end - 1) for start, end in zip(ends[::2], ends[1::2], strict=False) if end > start]
    if not spans:
        raise UnusableError("an empty mask")
    # A run over the end of a column has pixels in the first and the last row.
    crosses = any(first // height != last // height for first, last in spans)
    rows = [n % height for span in spans for n in span]
    top, bottom = (0, height - 1) if crosses else (min(rows), max(rows))
    return (spans[0][0] // height, top, spans[-1][1] // height + 1, bottom + 1)


def _list_of(counts: Any) -> list[Any]:
    if not isinstance(counts, list) or len(counts) > _MAX_RUNS:
        raise UnusableError(_UNREADABLE)
    return counts


def _text_runs(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or shift > 60:
            raise UnusableError(_UNREADABLE)
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise UnusableError(_UNREADABLE)
    return runs
