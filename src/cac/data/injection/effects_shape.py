"""Defects that bend the picture: a part that grows, an outline that runs like wax, a surface that trembles.

The bend fades out towards the region's edge, so there is no seam; pixels are only moved, never made up.
"""

import cv2
import numpy as np

from cac.data.injection.effect import Stage
from cac.data.injection.layers import Layer, displaced


def stretched_part(stage: Stage) -> list[Layer]:
    """A part of the region swells and is pulled to one side, more and more over the window."""
    angle = stage.rng.uniform(0, 2 * np.pi)
    layers = []
    for t in stage.times:
        mask, xs, ys = _around(stage, t)
        reach = stage.region.radius
        grown = stage.severity * (0.3 + 0.7 * stage.progress(t))
        bump = np.exp(-(xs**2 + ys**2) / (2 * (0.6 * reach) ** 2)).astype(np.float32)
        pull = 0.7 * reach * grown * bump
        dx = -xs * 0.55 * grown * bump - np.float32(np.cos(angle)) * pull
        dy = -ys * 0.55 * grown * bump - np.float32(np.sin(angle)) * pull
        layers.append(_bent(stage, t, mask, dx, dy))
    return layers


def melted_body(stage: Stage) -> list[Layer]:
    """Strips of the region run down, each at its own pace, further with every frame."""
    phase, waves = stage.rng.uniform(0, 2 * np.pi), stage.rng.uniform(1.5, 2.5)
    layers = []
    for t in stage.times:
        mask, xs, ys = _around(stage, t)
        reach = stage.region.radius
        pace = 0.6 + 0.4 * np.sin(waves * np.pi * xs / reach + phase)
        run = reach * 0.9 * stage.severity * (0.3 + 0.7 * stage.progress(t)) * pace
        sway = 0.25 * reach * stage.severity * np.sin(np.pi * ys / reach + phase)
        layers.append(_bent(stage, t, mask, sway.astype(np.float32), -run.astype(np.float32)))
    return layers


def texture_jitter(stage: Stage) -> list[Layer]:
    """The surface is bent at random, anew in every frame, by one to a few pixels; its outline stays."""
    height, width = stage.frames.shape[1:3]
    size = 0.14 * stage.region.radius * stage.severity + 0.4
    cells = max(2, round(min(height, width) / (0.5 * stage.region.radius)))
    layers = []
    for t in stage.times:
        mask = stage.region.mask(t)
        fields = stage.rng.standard_normal((2, cells, cells)).astype(np.float32)
        dx, dy = (cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) * size for field in fields)
        layers.append(_bent(stage, t, mask, dx, dy))
    return layers


def _around(stage: Stage, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the region's mask, and x and y from its centre, in pixels."""
    height, width = stage.frames.shape[1:3]
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = stage.region.centres[t]
    return stage.region.mask(t), xs - np.float32(x), ys - np.float32(y)


def _bent(stage: Stage, t: int, mask: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> Layer:
    """Return the frame bent inside the mask. The bend itself fades, and the mask only ends it where it is near none."""
    fade = cv2.GaussianBlur(mask, (0, 0), max(1.0, 0.1 * stage.region.radius))
    support = np.clip(mask * 4, 0, 1)
    return Layer(displaced(stage.frames[t], dx * fade, dy * fade), support, mask)
