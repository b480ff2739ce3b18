"""CVAT's shapes as upright boxes: of a polygon, a skeleton, an ellipse, a cuboid or a mask, the box around it."""

import re
from xml.etree import ElementTree as ET

from cac.data.exchange.parse import as_box, as_number
from cac.data.exchange.unusable import UnusableError
from cac.errors import printable
from cac.schema.geometry import Box

_POINTS = {"polygon", "polyline", "points"}
_CORNER = re.compile(r"([xy])[tb][lr][12]")
SHAPES = {*_POINTS, "box", "ellipse", "cuboid", "mask", "skeleton"}


def shape_box(shape: ET.Element) -> Box:
    """Return the box (x1, y1, x2, y2) in pixels around a shape.

    Raises:
        UnusableError: the shape is turned, unknown, or lacks a coordinate.
    """
    if shape.tag not in SHAPES:
        raise UnusableError(f"a {printable(shape.tag)}, which this reader does not know")
    if as_number(shape.get("rotation", "0")) != 0:
        raise UnusableError(f"a rotated {shape.tag}")
    if shape.tag == "box":
        return as_box([shape.get(side) for side in ("xtl", "ytl", "xbr", "ybr")])
    if shape.tag == "ellipse":
        x, y, rx, ry = (as_number(shape.get(name)) for name in ("cx", "cy", "rx", "ry"))
        return (x - rx, y - ry, x + rx, y + ry)
    if shape.tag == "mask":
        x, y, width, height = (as_number(shape.get(name)) for name in ("left", "top", "width", "height"))
        return (x, y, x + width, y + height)
    return _around(_skeleton(shape) if shape.tag == "skeleton" else _points(shape))


def shape_change(shape: ET.Element) -> tuple[str, ...]:
    """Return what is changed by taking the box of a shape."""
    return () if shape.tag == "box" else (f"box of a {shape.tag}",)


def _points(shape: ET.Element) -> list[tuple[float, float]]:
    if shape.tag == "cuboid":
        sides = [(_CORNER.fullmatch(name), value) for name, value in shape.attrib.items()]
        values = {axis: [as_number(value) for corner, value in sides if corner and corner[1] == axis] for axis in "xy"}
        return list(zip(values["x"], values["y"], strict=False))
    pairs = [pair.split(",") for pair in shape.get("points", "").split(";") if pair.strip()]
    if not all(len(pair) == 2 for pair in pairs):
        raise UnusableError("points that are no pairs of numbers")
    return [(as_number(x.strip()), as_number(y.strip())) for x, y in pairs]


def _skeleton(shape: ET.Element) -> list[tuple[float, float]]:
    unknown = next((part.tag for part in shape if part.tag not in ("points", "attribute")), None)
    if unknown:
        raise UnusableError(f"a skeleton with a {printable(unknown)}")
    return [point for part in shape.findall("points") if part.get("outside", "0") != "1" for point in _points(part)]


def _around(points: list[tuple[float, float]]) -> Box:
    if not points:
        raise UnusableError("a shape without points")
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return (min(xs), min(ys), max(xs), max(ys))
