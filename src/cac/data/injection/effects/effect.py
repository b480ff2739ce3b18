"""The input and output of an effect; the effects are in the modules `effects_*.py`.

An effect is a function from an `EffectInput` to one `Layer` for each frame of the window. Severity in (0, 1] orders
how much it changes: 1 is obvious, near 0 is subtle.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cac.data.injection.effects.layers import Layer
from cac.data.injection.region import Region


@dataclass(frozen=True)
class EffectInput:
    """What an effect works on: a segment with a region and a window.

    Attributes:
        frames: uint8 (n, height, width, 3), the clean segment.
        region: where the defect is made, tracked through the segment.
        first, last: the window's frames, both included.
        severity: in (0, 1].
        rng: for random choices.
    """

    frames: np.ndarray
    region: Region
    first: int
    last: int
    severity: float
    rng: np.random.Generator

    @property
    def times(self) -> range:
        """The frames of the window."""
        return range(self.first, self.last + 1)

    @property
    def length(self) -> int:
        """How many frames the window has."""
        return self.last - self.first + 1

    def progress(self, t: int) -> float:
        """Return how much of the window has passed with frame `t`, in (0, 1]."""
        return (t - self.first + 1) / self.length


Effect = Callable[[EffectInput], list[Layer]]
