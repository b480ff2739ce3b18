"""Drawing of procedural scenes: from actor states to RGB frames, and the extent of each actor.

Everything is drawn at twice the size and averaged down, so a frame depends on its states only. Out of scope: motion
(`scenes.py`) and anomalies (`defects.py`).
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from cac.data.sample.glyphs import word_bitmap
from cac.schema.geometry import Box

SUPERSAMPLING = 2
OUTLINE_POINTS = 36
SIGN_SCALE = 2  # pixels per glyph dot

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 48, 44),
    "green": (40, 176, 70),
    "blue": (46, 86, 220),
    "yellow": (240, 208, 40),
    "purple": (150, 60, 190),
    "orange": (242, 134, 30),
    "cyan": (40, 200, 214),
}
SOLIDS = ("ball", "box", "triangle", "star")
SHIFTED_SOLIDS = ("diamond", "cross")  # only in `test_shifted`: no training clip and no task of the base shows one
KINDS = (*SOLIDS, "creature", "sign")
FOLDED = 0.55  # by how much of its size a creature's body is lower when it lies
LAMP_LIT, LAMP_DARK, LAMP_RIM = (255, 250, 190), (92, 94, 98), (60, 60, 60)


@dataclass(frozen=True)
class ActorState:
    """One actor in one frame; lengths in pixels.

    `size` is the half-extent; `heading` +1 or -1; `phase` in radians drives the legs; `limbs` counts legs (more than
    four grow upwards); `crouch` in [0, 1] folds them; `turn` in radians turns a solid; `warp` in [0, 1] melts its
    outline; `garble` seeds nonsense glyphs, None for readable text; `lit` is for lamps.
    """

    kind: str
    colour: str
    x: float
    y: float
    size: float
    visible: bool = True
    heading: int = 1
    phase: float = 0.0
    limbs: int = 4
    warp: float = 0.0
    word: str = ""
    mirrored: bool = False
    garble: int | None = None
    turn: float = 0.0
    crouch: float = 0.0
    lit: bool = False


@dataclass(frozen=True)
class Wall:
    """A solid upright slab, pixels."""

    x1: float
    x2: float


def render_frame(background: np.ndarray, wall: Wall | None, states: list[ActorState], light: float = 1.0) -> np.ndarray:
    """Draw one frame.

    Args:
        background: uint8 (height, width, 3).
        wall: drawn under the actors, so that an actor inside it is seen.
        states: actors from back to front.
        light: factor on everything, in [0, 1].

    Returns:
        uint8 (height, width, 3).
    """
    height, width = background.shape[:2]
    big = Image.fromarray(background).resize((width * SUPERSAMPLING, height * SUPERSAMPLING), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(big)
    if wall is not None:
        _draw_wall(draw, wall, height)
    for state in states:
        if state.visible:
            _draw_actor(big, draw, state)
    frame = np.asarray(big.reduce(SUPERSAMPLING))
    return frame if light == 1.0 else np.round(frame * light).astype(np.uint8)


def extent(state: ActorState, width: int, height: int) -> Box:
    """Return the box of an actor, normalised to [0, 1] and cut to the frame; a hidden actor has one too."""
    x1, y1, x2, y2 = _extent_pixels(state)
    return (
        min(max(x1 / width, 0.0), 1.0),
        min(max(y1 / height, 0.0), 1.0),
        min(max(x2 / width, 0.0), 1.0),
        min(max(y2 / height, 0.0), 1.0),
    )


def _extent_pixels(state: ActorState) -> Box:
    if state.kind == "sign":
        half_width, half_height = sign_half_extent(state.word)
        return (state.x - half_width, state.y - half_height, state.x + half_width, state.y + half_height)
    if state.kind == "creature":
        top = state.size * ((1.15 if state.limbs > 4 else 0.6) - FOLDED * state.crouch)
        return (state.x - state.size * 1.2, state.y - top, state.x + state.size * 1.2, state.y + state.size)
    if state.kind == "lamp":
        return (state.x - state.size, state.y - state.size, state.x + state.size, state.y + state.size)
    xs, ys = zip(*_outline(state), strict=True)
    return (min(xs), min(ys), max(xs), max(ys))


def sign_half_extent(word: str) -> tuple[float, float]:
    """Return half the width and height of the board a word stands on, pixels."""
    return ((6 * len(word) - 1) * SIGN_SCALE / 2 + 3, 7 * SIGN_SCALE / 2 + 3)


def _draw_wall(draw: ImageDraw.ImageDraw, wall: Wall, height: int) -> None:
    x1, x2 = round(wall.x1 * SUPERSAMPLING), round(wall.x2 * SUPERSAMPLING)
    draw.rectangle((x1, 0, x2, height * SUPERSAMPLING), fill=(122, 92, 78))
    for row, y in enumerate(range(0, height * SUPERSAMPLING, 16)):
        draw.line((x1, y, x2, y), fill=(88, 66, 56), width=2)
        x = x1 + (x2 - x1) * (1 if row % 2 else 2) // 3
        draw.line((x, y, x, y + 16), fill=(88, 66, 56), width=2)


def _draw_actor(image: Image.Image, draw: ImageDraw.ImageDraw, state: ActorState) -> None:
    if state.kind == "sign":
        _draw_sign(image, state)
    elif state.kind == "creature":
        _draw_creature(draw, state)
    elif state.kind == "lamp":
        _draw_lamp(draw, state)
    else:
        points = [(x * SUPERSAMPLING, y * SUPERSAMPLING) for x, y in _outline(state)]
        fill = COLOURS[state.colour]
        draw.polygon(points, fill=fill, outline=_darker(fill), width=3)


def _outline(state: ActorState) -> list[tuple[float, float]]:
    """Return the outline of a solid as points, melted by `warp`: waves along it, and the lower half sagging."""
    points = []
    for step in range(OUTLINE_POINTS):
        angle = 2 * math.pi * step / OUTLINE_POINTS
        radius = state.size * _radius(state.kind, angle - state.turn)
        radius *= 1 + 0.35 * state.warp * math.sin(5 * angle + state.phase)
        x, y = radius * math.cos(angle), radius * math.sin(angle)
        if y > 0:
            y *= 1 + 0.5 * state.warp * (0.5 + 0.5 * math.cos(3 * angle))
        points.append((round(state.x + x, 2), round(state.y + y, 2)))
    return points


def _radius(kind: str, angle: float) -> float:
    """Return the outline's distance from the centre at an angle, for unit size."""
    if kind == "box":
        return 0.92 / max(abs(math.cos(angle)), abs(math.sin(angle)))
    if kind == "triangle":
        sector = (angle + math.pi / 2) % (2 * math.pi / 3) - math.pi / 3
        return 0.62 / math.cos(sector)
    if kind == "diamond":
        return 1.0 / (abs(math.cos(angle)) + abs(math.sin(angle)))
    if kind == "cross":
        near = abs((angle + math.pi / 4) % (math.pi / 2) - math.pi / 4)  # to the nearest arm
        return min(0.95 / math.cos(near), 0.4 / max(math.sin(near), 1e-9))
    if kind == "star":
        return 0.75 + 0.33 * math.cos(5 * (angle + math.pi / 2))
    return 1.0


def _draw_creature(draw: ImageDraw.ImageDraw, state: ActorState) -> None:
    scale = state.size * SUPERSAMPLING
    x, y = state.x * SUPERSAMPLING, state.y * SUPERSAMPLING
    ground = y + scale
    y += scale * FOLDED * state.crouch
    fill = COLOURS[state.colour]
    dark = _darker(fill)
    width = max(3, round(scale * 0.22))
    for limb in range(state.limbs):
        swing = 0.22 * math.sin(state.phase + limb * math.pi / 2)
        if limb < 4:
            hip = x + scale * (-0.66 + 0.44 * limb)
            draw.line((hip, y, hip + scale * swing, ground), fill=dark, width=width)
        else:
            hip = x + scale * (-0.5 + 0.45 * (limb - 4))
            draw.line((hip, y, hip + scale * (swing - 0.15), y - scale * 1.12), fill=dark, width=width)
    draw.ellipse((x - scale * 0.85, y - scale * 0.45, x + scale * 0.85, y + scale * 0.45), fill=fill, outline=dark)
    head = x + state.heading * scale * 0.8
    draw.ellipse((head - scale * 0.4, y - scale * 0.6, head + scale * 0.4, y + scale * 0.2), fill=fill, outline=dark)
    eye = head + state.heading * scale * 0.12
    draw.ellipse((eye - 3, y - scale * 0.3 - 3, eye + 3, y - scale * 0.3 + 3), fill=(20, 20, 20))


def _draw_lamp(draw: ImageDraw.ImageDraw, state: ActorState) -> None:
    x, y, size = (value * SUPERSAMPLING for value in (state.x, state.y, state.size))
    fill = LAMP_LIT if state.lit else LAMP_DARK
    draw.ellipse((x - size, y - size, x + size, y + size), fill=fill, outline=LAMP_RIM, width=3)


def _draw_sign(image: Image.Image, state: ActorState) -> None:
    rng = None if state.garble is None else np.random.default_rng(state.garble)
    bits = word_bitmap(state.word, rng)
    if state.mirrored:
        bits = bits[:, ::-1]
    scale = SIGN_SCALE * SUPERSAMPLING
    half_width, half_height = sign_half_extent(state.word)
    left, top = round((state.x - half_width) * SUPERSAMPLING), round((state.y - half_height) * SUPERSAMPLING)
    right, bottom = round((state.x + half_width) * SUPERSAMPLING), round((state.y + half_height) * SUPERSAMPLING)
    draw = ImageDraw.Draw(image)
    draw.rectangle((left, top, right, bottom), fill=(246, 246, 238), outline=(60, 60, 60), width=2)
    for row, column in zip(*np.nonzero(bits), strict=True):
        x, y = left + 3 * SUPERSAMPLING + int(column) * scale, top + 3 * SUPERSAMPLING + int(row) * scale
        draw.rectangle(
            (x, y, x + scale - 1, y + scale - 1), fill=COLOURS[state.colour] if state.colour else (20, 20, 20)
        )


def _darker(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    return (colour[0] * 3 // 5, colour[1] * 3 // 5, colour[2] * 3 // 5)
