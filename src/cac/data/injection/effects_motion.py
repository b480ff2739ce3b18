"""Defects that take the region from its place: it vanishes, jumps along its path, or comes apart into two.

Where it was, the background is filled in (`fill.py`).
"""

import numpy as np

from cac.data.injection.effect import Stage
from cac.data.injection.fill import filled, find_donor
from cac.data.injection.layers import Layer, mixed, mixed_layer, moved_mask, shifted

Offset = tuple[int, int]  # x and y, in pixels


def vanishing(stage: Stage) -> list[Layer]:
    """The region is gone; at low severity it is only see-through."""
    donor = find_donor(stage.frames, stage.region, (stage.first, stage.last))
    strength = 0.35 + 0.65 * stage.severity
    layers = []
    for t in stage.times:
        mask = stage.region.mask(t)
        layers.append(mixed_layer(stage.frames[t], filled(stage.frames[t], mask, donor), strength * mask))
    return layers


def teleport(stage: Stage) -> list[Layer]:
    """The region is ahead of where it should be, or behind: shifted along its motion, further with severity."""
    offset = _along_motion(stage, (0.5 + 1.3 * stage.severity) * stage.region.radius)
    donor = find_donor(stage.frames, stage.region, (stage.first, stage.last))
    return [_moved(stage, t, donor, [(stage.region.mask(t), offset)]) for t in stage.times]


def object_split(stage: Stage) -> list[Layer]:
    """The region's halves drift apart to both sides, further with every frame."""
    donor = find_donor(stage.frames, stage.region, (stage.first, stage.last))
    layers = []
    for t in stage.times:
        mask = stage.region.mask(t)
        columns = np.arange(mask.shape[1], dtype=np.float32) - stage.region.centres[t][0]
        right = np.clip(columns / 4 + 0.5, 0, 1)[None, :]
        gap = 0.9 * stage.severity * stage.region.radius * (0.2 + 0.8 * stage.progress(t))
        way = max(1, round(gap))
        layers.append(_moved(stage, t, donor, [(mask * (1 - right), (-way, 0)), (mask * right, (way, 0))]))
    return layers


def _moved(stage: Stage, t: int, donor: Offset, parts: list[tuple[np.ndarray, Offset]]) -> Layer:
    """Return frame `t` with the region's place filled and each part (mask, offset) put where it goes."""
    frame, hole = stage.frames[t], stage.region.mask(t)
    pixels = mixed(frame, filled(frame, hole, donor), hole)
    shown = np.zeros_like(hole)
    for part, offset in parts:
        there = np.clip(moved_mask(part, offset), 0, 1)
        pixels = mixed(pixels, shifted(frame, offset), there)
        shown = np.maximum(shown, there)
    support = ((hole > 0) | (shown > 0)).astype(np.float32)
    return Layer(pixels, support, shown)


def _along_motion(stage: Stage, distance: float) -> Offset:
    """Return the offset (x, y) of this length along the region's path, forward or back, that stays more in the frame.

    Something that hardly moves is shifted in a random direction.
    """
    step = (stage.region.centres[stage.last] - stage.region.centres[stage.first]).astype(float)
    if np.linalg.norm(step) < 2:
        angle = stage.rng.uniform(0, 2 * np.pi)
        step = np.array([np.cos(angle), np.sin(angle)])
    step *= distance / np.linalg.norm(step)
    ways = [(round(float(sign * step[0])), round(float(sign * step[1]))) for sign in (1, -1)]
    return max(ways, key=lambda way: min(stage.region.visible(t, way) for t in (stage.first, stage.last)))
