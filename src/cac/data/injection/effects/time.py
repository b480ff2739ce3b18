"""Effects on a region's time: it freezes, runs backwards, or runs too fast, while the rest plays normally.

The region is shown as in another frame, where it was then; its current position is filled in (`fill.py`).
"""

from collections.abc import Callable

import numpy as np

from cac.data.injection.effects.effect import EffectInput
from cac.data.injection.effects.fill import fill_hole, find_donor
from cac.data.injection.effects.layers import Layer, mix_textures

FASTEST = 2.5  # times the normal speed, of a speed jump at full severity


def frozen_region(inputs: EffectInput) -> list[Layer]:
    """The region freezes: for the whole window at full severity, in short holds at a low one."""
    hold = max(2, round(inputs.severity * inputs.length))
    return _retimed(inputs, lambda t: inputs.first - 1 + (t - inputs.first) // hold * hold)


def reversed_motion(inputs: EffectInput) -> list[Layer]:
    """The region moves backwards, at its normal speed at full severity, slower at a low one."""
    return _retimed(inputs, lambda t: inputs.first - round((t - inputs.first + 1) * inputs.severity))


def speed_jump(inputs: EffectInput) -> list[Layer]:
    """The region runs ahead of its time."""
    ahead = (FASTEST - 1) * inputs.severity
    return _retimed(inputs, lambda t: t + max(1, round((t - inputs.first + 1) * ahead)))


def _retimed(inputs: EffectInput, then: Callable[[int], int]) -> list[Layer]:
    """Return the layers that show the region in frame `t` as in frame `then(t)`."""
    donor = find_donor(inputs.frames, inputs.region, (inputs.first, inputs.last))
    layers = []
    for t in inputs.times:
        source = min(max(then(t), 0), len(inputs.frames) - 1)
        hole, there = inputs.region.mask(t), inputs.region.mask(source)
        empty = mix_textures(inputs.frames[t], fill_hole(inputs.frames[t], hole, donor), hole)
        pixels = mix_textures(empty, inputs.frames[source], there)
        support = ((hole > 0) | (there > 0)).astype(np.float32)
        layers.append(Layer(pixels, support, there))
    return layers
