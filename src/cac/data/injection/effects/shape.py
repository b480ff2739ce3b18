"""Effects that warp the picture: a part that grows, an outline that melts, a texture that jitters.

The warp fades out towards the region's edge, so there is no seam. Pixels are only moved, never invented.
"""

import cv2
import numpy as np

from cac.data.injection.effects.effect import EffectInput
from cac.data.injection.effects.layers import Layer, warp_image


def stretched_part(inputs: EffectInput) -> list[Layer]:
    """A part of the region swells and is pulled to one side, more and more over the window."""
    angle = inputs.rng.uniform(0, 2 * np.pi)
    layers = []
    for t in inputs.times:
        mask, xs, ys = _around(inputs, t)
        reach = inputs.region.radius
        grown = inputs.severity * (0.3 + 0.7 * inputs.progress(t))
        bump = np.exp(-(xs**2 + ys**2) / (2 * (0.6 * reach) ** 2)).astype(np.float32)
        pull = 0.7 * reach * grown * bump
        dx = -xs * 0.55 * grown * bump - np.float32(np.cos(angle)) * pull
        dy = -ys * 0.55 * grown * bump - np.float32(np.sin(angle)) * pull
        layers.append(_warped(inputs, t, mask, dx, dy))
    return layers


def melted_body(inputs: EffectInput) -> list[Layer]:
    """Strips of the region run down, each at its own pace, further with every frame."""
    phase, waves = inputs.rng.uniform(0, 2 * np.pi), inputs.rng.uniform(1.5, 2.5)
    layers = []
    for t in inputs.times:
        mask, xs, ys = _around(inputs, t)
        reach = inputs.region.radius
        pace = 0.6 + 0.4 * np.sin(waves * np.pi * xs / reach + phase)
        run = reach * 0.9 * inputs.severity * (0.3 + 0.7 * inputs.progress(t)) * pace
        sway = 0.25 * reach * inputs.severity * np.sin(np.pi * ys / reach + phase)
        layers.append(_warped(inputs, t, mask, sway.astype(np.float32), -run.astype(np.float32)))
    return layers


def texture_jitter(inputs: EffectInput) -> list[Layer]:
    """The texture is warped at random in every frame, by one to a few pixels; the outline stays."""
    height, width = inputs.frames.shape[1:3]
    size = 0.14 * inputs.region.radius * inputs.severity + 0.4
    cells = max(2, round(min(height, width) / (0.5 * inputs.region.radius)))
    layers = []
    for t in inputs.times:
        mask = inputs.region.mask(t)
        fields = inputs.rng.standard_normal((2, cells, cells)).astype(np.float32)
        dx, dy = (cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) * size for field in fields)
        layers.append(_warped(inputs, t, mask, dx, dy))
    return layers


def _around(inputs: EffectInput, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the region's mask, and x and y from its centre, in pixels."""
    height, width = inputs.frames.shape[1:3]
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = inputs.region.centres[t]
    return inputs.region.mask(t), xs - np.float32(x), ys - np.float32(y)


def _warped(inputs: EffectInput, t: int, mask: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> Layer:
    """Return the frame warped inside the mask. The warp fades out; the mask only ends it where it is almost zero."""
    fade = cv2.GaussianBlur(mask, (0, 0), max(1.0, 0.1 * inputs.region.radius))
    support = np.clip(mask * 4, 0, 1)
    return Layer(warp_image(inputs.frames[t], dx * fade, dy * fade), support, mask)
