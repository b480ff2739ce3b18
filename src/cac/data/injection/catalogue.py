"""Which leaves can be made in ordinary videos, by what, and what each needs of the segment."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cac.data.injection import effects_colour as looks
from cac.data.injection import effects_copy as copies
from cac.data.injection import effects_motion as moves
from cac.data.injection import effects_shape as warps
from cac.data.injection import effects_text as lettering
from cac.data.injection import effects_time as timing
from cac.data.injection.effect import Defect
from cac.data.injection.effects_text import Caption, CaptionFrames


@dataclass(frozen=True)
class EffectSpec:
    """What a defect of a region needs.

    Attributes:
        make: the defect.
        path: how far the region must go within the window, as a share of its radius.
        before, after: frames it needs outside the window, as shares of the window's length.
    """

    make: Defect
    min_travel: float = 0.0
    before: float = 0.0
    after: float = 0.0


REGION_DEFECTS: dict[str, EffectSpec] = {
    "melted_body": EffectSpec(warps.melted_body),
    "stretched_part": EffectSpec(warps.stretched_part),
    "misplaced_part": EffectSpec(copies.misplaced_part),
    "ghost_double": EffectSpec(copies.ghost_double),
    "colour_swap": EffectSpec(looks.colour_swap),
    "vanishing": EffectSpec(moves.vanishing),
    "texture_jitter": EffectSpec(warps.texture_jitter),
    "sudden_appearance": EffectSpec(copies.sudden_appearance),
    "frozen_region": EffectSpec(timing.frozen_region, min_travel=0.35),
    "teleport": EffectSpec(moves.teleport, min_travel=0.15),
    "reversed_motion": EffectSpec(timing.reversed_motion, min_travel=0.35, before=1.0),
    "speed_jump": EffectSpec(timing.speed_jump, min_travel=0.35, after=timing.FASTEST - 1),
    "object_split": EffectSpec(moves.object_split),
}

TEXT_DEFECTS: dict[str, Callable[[Caption, float, np.random.Generator], CaptionFrames]] = {
    "garbled_text": lettering.garbled_text,
    "mirrored_text": lettering.mirrored_text,
    "shifting_text": lettering.shifting_text,
}

INJECTABLE: tuple[str, ...] = (*REGION_DEFECTS, *TEXT_DEFECTS)
