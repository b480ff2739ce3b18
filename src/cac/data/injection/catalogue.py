"""The leaves that can be injected: the effect of each, and what it needs of the segment."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cac.data.injection.effects import colour as effects_colour
from cac.data.injection.effects import copy as effects_copy
from cac.data.injection.effects import motion as effects_motion
from cac.data.injection.effects import shape as effects_shape
from cac.data.injection.effects import text as effects_text
from cac.data.injection.effects import time as effects_time
from cac.data.injection.effects.effect import Effect
from cac.data.injection.effects.text import Caption, CaptionFrames


@dataclass(frozen=True)
class EffectSpec:
    """The effect of a leaf on a region, and what it needs.

    Attributes:
        make: the effect.
        min_travel: how far the region must move within the window, in radii.
        before, after: frames it needs outside the window, in lengths of the window.
    """

    make: Effect
    min_travel: float = 0.0
    before: float = 0.0
    after: float = 0.0


REGION_DEFECTS: dict[str, EffectSpec] = {
    "melted_body": EffectSpec(effects_shape.melted_body),
    "stretched_part": EffectSpec(effects_shape.stretched_part),
    "misplaced_part": EffectSpec(effects_copy.misplaced_part),
    "ghost_double": EffectSpec(effects_copy.ghost_double),
    "colour_swap": EffectSpec(effects_colour.colour_swap),
    "vanishing": EffectSpec(effects_motion.vanishing),
    "texture_jitter": EffectSpec(effects_shape.texture_jitter),
    "sudden_appearance": EffectSpec(effects_copy.sudden_appearance),
    "frozen_region": EffectSpec(effects_time.frozen_region, min_travel=0.35),
    "teleport": EffectSpec(effects_motion.teleport, min_travel=0.15),
    "reversed_motion": EffectSpec(effects_time.reversed_motion, min_travel=0.35, before=1.0),
    "speed_jump": EffectSpec(effects_time.speed_jump, min_travel=0.35, after=effects_time.FASTEST - 1),
    "object_split": EffectSpec(effects_motion.object_split),
}

TEXT_DEFECTS: dict[str, Callable[[Caption, float, np.random.Generator], CaptionFrames]] = {
    "garbled_text": effects_text.garbled_text,
    "mirrored_text": effects_text.mirrored_text,
    "shifting_text": effects_text.shifting_text,
}

INJECTABLE: tuple[str, ...] = (*REGION_DEFECTS, *TEXT_DEFECTS)
