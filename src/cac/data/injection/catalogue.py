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
from cac.data.injection.effects_text import Caption, Look


@dataclass(frozen=True)
class Need:
    """What a defect of a region needs.

    Attributes:
        make: the defect.
        path: how far the region must go within the window, as a share of its radius.
        before, after: frames it needs outside the window, as shares of the window's length.
    """

    make: Defect
    path: float = 0.0
    before: float = 0.0
    after: float = 0.0


REGION_DEFECTS: dict[str, Need] = {
    "melted_body": Need(warps.melted_body),
    "stretched_part": Need(warps.stretched_part),
    "misplaced_part": Need(copies.misplaced_part),
    "ghost_double": Need(copies.ghost_double),
    "colour_swap": Need(looks.colour_swap),
    "vanishing": Need(moves.vanishing),
    "texture_jitter": Need(warps.texture_jitter),
    "sudden_appearance": Need(copies.sudden_appearance),
    "frozen_region": Need(timing.frozen_region, path=0.35),
    "teleport": Need(moves.teleport, path=0.15),
    "reversed_motion": Need(timing.reversed_motion, path=0.35, before=1.0),
    "speed_jump": Need(timing.speed_jump, path=0.35, after=timing.FASTEST - 1),
    "object_split": Need(moves.object_split),
}

TEXT_DEFECTS: dict[str, Callable[[Caption, float, np.random.Generator], Look]] = {
    "garbled_text": lettering.garbled_text,
    "mirrored_text": lettering.mirrored_text,
    "shifting_text": lettering.shifting_text,
}

INJECTABLE: tuple[str, ...] = (*REGION_DEFECTS, *TEXT_DEFECTS)
