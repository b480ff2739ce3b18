"""Effects that move the region away: it vanishes, jumps along its path, or splits in two.

The background behind it is filled in (`fill.py`).
"""

import numpy as np

from cac.data.injection.effects.effect import EffectInput
from cac.data.injection.effects.fill import fill_hole, find_donor
from cac.data.injection.effects.layers import Layer, mix_layer, mix_textures, shift_image, shift_mask

Offset = tuple[int, int]  # x and y, in pixels


def vanishing(inputs: EffectInput) -> list[Layer]:
    """The region vanishes; at low severity it is only transparent."""
    donor = find_donor(inputs.frames, inputs.region, (inputs.first, inputs.last))
    strength = 0.35 + 0.65 * inputs.severity
    layers = []
    for t in inputs.times:
        mask = inputs.region.mask(t)
        layers.append(mix_layer(inputs.frames[t], fill_hole(inputs.frames[t], mask, donor), strength * mask))
    return layers


def teleport(inputs: EffectInput) -> list[Layer]:
    """The region jumps forward or back along its motion, further with severity."""
    offset = _along_motion(inputs, (0.5 + 1.3 * inputs.severity) * inputs.region.radius)
    donor = find_donor(inputs.frames, inputs.region, (inputs.first, inputs.last))
    return [_moved(inputs, t, donor, [(inputs.region.mask(t), offset)]) for t in inputs.times]


def object_split(inputs: EffectInput) -> list[Layer]:
    """The region's halves drift apart to both sides, further with every frame."""
    donor = find_donor(inputs.frames, inputs.region, (inputs.first, inputs.last))
    layers = []
    for t in inputs.times:
        mask = inputs.region.mask(t)
        columns = np.arange(mask.shape[1], dtype=np.float32) - inputs.region.centres[t][0]
        right = np.clip(columns / 4 + 0.5, 0, 1)[None, :]
        gap = 0.9 * inputs.severity * inputs.region.radius * (0.2 + 0.8 * inputs.progress(t))
        way = max(1, round(gap))
        layers.append(_moved(inputs, t, donor, [(mask * (1 - right), (-way, 0)), (mask * right, (way, 0))]))
    return layers


def _moved(inputs: EffectInput, t: int, donor: Offset, parts: list[tuple[np.ndarray, Offset]]) -> Layer:
    """Return frame `t` with the region filled in and each part (mask, offset) drawn at its offset."""
    frame, hole = inputs.frames[t], inputs.region.mask(t)
    pixels = mix_textures(frame, fill_hole(frame, hole, donor), hole)
    shown = np.zeros_like(hole)
    for part, offset in parts:
        there = np.clip(shift_mask(part, offset), 0, 1)
        pixels = mix_textures(pixels, shift_image(frame, offset), there)
        shown = np.maximum(shown, there)
    support = ((hole > 0) | (shown > 0)).astype(np.float32)
    return Layer(pixels, support, shown)


def _along_motion(inputs: EffectInput, distance: float) -> Offset:
    """Return the offset (x, y) of this length along the region's path, in the direction that stays more in the frame.

    A region that hardly moves is shifted in a random direction.
    """
    step = (inputs.region.centres[inputs.last] - inputs.region.centres[inputs.first]).astype(float)
    if np.linalg.norm(step) < 2:
        angle = inputs.rng.uniform(0, 2 * np.pi)
        step = np.array([np.cos(angle), np.sin(angle)])
    step *= distance / np.linalg.norm(step)
    ways = [(round(float(sign * step[0])), round(float(sign * step[1]))) for sign in (1, -1)]
    return max(ways, key=lambda way: min(inputs.region.visible(t, way) for t in (inputs.first, inputs.last)))
