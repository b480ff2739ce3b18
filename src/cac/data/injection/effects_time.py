"""Defects of a region's time: it stands still, runs backwards, or runs too fast, while the rest goes on.

The region is shown as it was in another frame and where it was then; its own place is filled in (`fill.py`).
"""

from collections.abc import Callable

import numpy as np

from cac.data.injection.effect import Stage
from cac.data.injection.fill import filled, find_donor
from cac.data.injection.layers import Layer, mixed

FASTEST = 2.5  # times the own speed, of a speed jump at full severity


def frozen_region(stage: Stage) -> list[Layer]:
    """The region stands still: for the whole window at full severity, in short holds at a low one."""
    hold = max(2, round(stage.severity * stage.length))
    return _retimed(stage, lambda t: stage.first - 1 + (t - stage.first) // hold * hold)


def reversed_motion(stage: Stage) -> list[Layer]:
    """The region goes back the way it came, at its own speed at full severity, slower at a low one."""
    return _retimed(stage, lambda t: stage.first - round((t - stage.first + 1) * stage.severity))


def speed_jump(stage: Stage) -> list[Layer]:
    """The region runs ahead of its time."""
    ahead = (FASTEST - 1) * stage.severity
    return _retimed(stage, lambda t: t + max(1, round((t - stage.first + 1) * ahead)))


def _retimed(stage: Stage, then: Callable[[int], int]) -> list[Layer]:
    """Return the layers that show the region in frame `t` as in frame `then(t)`."""
    donor = find_donor(stage.frames, stage.region, (stage.first, stage.last))
    layers = []
    for t in stage.times:
        source = min(max(then(t), 0), len(stage.frames) - 1)
        hole, there = stage.region.mask(t), stage.region.mask(source)
        empty = mixed(stage.frames[t], filled(stage.frames[t], hole, donor), hole)
        pixels = mixed(empty, stage.frames[source], there)
        support = ((hole > 0) | (there > 0)).astype(np.float32)
        layers.append(Layer(pixels, support, there))
    return layers
