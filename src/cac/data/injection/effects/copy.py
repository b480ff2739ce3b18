"""Effects that show a part of the picture in the wrong place: misplaced, doubled, or appearing suddenly.

Pixels are copied by whole pixels, so that a copy is as sharp as the original.
"""

import cv2
import numpy as np

from cac.data.injection.effects.effect import EffectInput
from cac.data.injection.effects.layers import Layer, mix_layer, shift_image, shift_mask

_DIRECTIONS = 16


def misplaced_part(inputs: EffectInput) -> list[Layer]:
    """The region shows another part of the same frame, the one that differs most from it."""
    offset = _best_offset(inputs, (1.6, 2.6))
    strength = 0.35 + 0.65 * inputs.severity
    back = (-offset[0], -offset[1])
    return [
        mix_layer(inputs.frames[t], shift_image(inputs.frames[t], back), strength * inputs.region.mask(t))
        for t in inputs.times
    ]


def ghost_double(inputs: EffectInput) -> list[Layer]:
    """A transparent copy of the region is drawn beside it."""
    return _copied(inputs, _best_offset(inputs, (0.9, 1.3)), 0.2 + 0.45 * inputs.severity)


def sudden_appearance(inputs: EffectInput) -> list[Layer]:
    """A mirrored copy of the region is drawn elsewhere during the window."""
    offset = _best_offset(inputs, (1.8, 3.0))
    return _copied(inputs, offset, 0.4 + 0.6 * inputs.severity, mirrored=True)


def _copied(inputs: EffectInput, offset: tuple[int, int], strength: float, mirrored: bool = False) -> list[Layer]:
    layers = []
    for t in inputs.times:
        frame, mask = inputs.frames[t], inputs.region.mask(t)
        if mirrored:
            # Mirrored about the region's own middle column.
            turn = 2 * int(inputs.region.centres[t][0]) - (frame.shape[1] - 1)
            frame, mask = shift_image(frame[:, ::-1], (turn, 0)), shift_mask(mask[:, ::-1], (turn, 0))
        weight = strength * shift_mask(mask, offset)
        layers.append(mix_layer(inputs.frames[t], shift_image(frame, offset), weight))
    return layers


def _best_offset(inputs: EffectInput, distances: tuple[float, float]) -> tuple[int, int]:
    """Return the offset (x, y) inside the frame at which the picture differs most from the region.

    A part as sharp as the region is preferred, because a change of sharpness is an artefact. `distances` are bounds in
    radii of the region; the distance is drawn once.
    """
    length = inputs.rng.uniform(*distances) * inputs.region.radius
    turned = inputs.rng.uniform(0, 2 * np.pi)
    best, chosen = -np.inf, (0, 0)
    for angle in turned + np.arange(_DIRECTIONS) * 2 * np.pi / _DIRECTIONS:
        offset = (round(float(np.cos(angle) * length)), round(float(np.sin(angle) * length)))
        value = min(_value(inputs, t, offset) for t in (inputs.first, inputs.last))
        if value > best:
            best, chosen = value, offset
    return chosen


def _value(inputs: EffectInput, t: int, offset: tuple[int, int]) -> float:
    frame, mask = inputs.frames[t], inputs.region.mask(t)
    there, inside = shift_image(frame, (-offset[0], -offset[1])), mask > 0.5
    difference = np.abs(there.astype(float) - frame)[inside].mean()
    sharpness = [np.abs(cv2.Laplacian(image, cv2.CV_32F))[inside].mean() + 1 for image in (frame, there)]
    missing = 1 - inputs.region.visible(t, offset)
    return float(difference - 20 * abs(np.log(sharpness[0] / sharpness[1]))) - 300 * max(0.0, missing - 0.1)
