"""Effects on colour: an object changes its hue and keeps its shading."""

import cv2
import numpy as np

from cac.data.injection.effects.effect import EffectInput
from cac.data.injection.effects.layers import Layer


def colour_swap(inputs: EffectInput) -> list[Layer]:
    """The region changes colour: its hue is shifted in a random direction; grey is tinted."""
    angle = inputs.rng.uniform(0, 2 * np.pi)
    shift = (6 + 50 * inputs.severity) * np.array([np.cos(angle), np.sin(angle)], np.float32)
    layers = []
    for t in inputs.times:
        lab = cv2.cvtColor(inputs.frames[t].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        lab[..., 1:] += shift
        pixels = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
        layers.append(Layer(np.clip(pixels, 0, 1) * 255, inputs.region.mask(t)))
    return layers
