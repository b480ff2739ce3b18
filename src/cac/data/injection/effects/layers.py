"""Layers: new pixels of a frame and a soft mask that says where they are visible.

Outside its mask a layer changes no pixel, so twins are identical outside window and region.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from cac.schema.geometry import Box

_VISIBLE = 0.25  # of a mask's peak; the fringe of a feathered edge is not part of the box
_FINE = 1.5  # pixels; finer detail counts as texture when two pictures are mixed


@dataclass(frozen=True)
class Layer:
    """New pixels of one frame.

    Attributes:
        pixels: (height, width, 3), in [0, 255], any number type.
        mask: float32 (height, width) in [0, 1].
        visible: where the defect is visible, if that is not the whole mask.
    """

    pixels: np.ndarray
    mask: np.ndarray
    visible: np.ndarray | None = None


def blend(frame: np.ndarray, layer: Layer) -> np.ndarray:
    """Return the frame, uint8 (height, width, 3), with the layer over it; identical where the mask is 0."""
    weight = layer.mask[..., None]
    mixed = frame + (layer.pixels.astype(np.float32) - frame) * weight
    return np.where(weight > 0, np.clip(np.rint(mixed), 0, 255), frame).astype(np.uint8)


def mix_textures(frame: np.ndarray, pixels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the frame with `pixels` mixed in by `weight` in [0, 1], float32, as sharp and noisy as both.

    A plain mean of two textures is smoother than either, which would be an artefact.
    """
    one, other, share = frame.astype(np.float32), pixels.astype(np.float32), weight[..., None]
    slow_one, slow_other = (cv2.GaussianBlur(image, (0, 0), _FINE) for image in (one, other))
    slow = slow_one + (slow_other - slow_one) * share
    fine = (one - slow_one) * (1 - share) + (other - slow_other) * share
    mixed: np.ndarray = np.clip(slow + fine / np.sqrt((1 - share) ** 2 + share**2), 0, 255)
    return mixed


def mix_layer(frame: np.ndarray, pixels: np.ndarray, weight: np.ndarray) -> Layer:
    """Return the layer that mixes `pixels` into the frame by `weight`, float32 (height, width) in [0, 1]."""
    return Layer(mix_textures(frame, pixels, weight), (weight > 0).astype(np.float32), weight)


def layer_box(layer: Layer) -> Box:
    """Return the box, normalised to [0, 1], of where the layer is visible.

    Raises:
        ValueError: the mask is empty.
    """
    mask = layer.mask if layer.visible is None else layer.visible
    if not mask.any():
        raise ValueError("an empty mask has no box")
    rows, columns = (np.flatnonzero((mask > _VISIBLE * mask.max()).any(axis=axis)) for axis in (1, 0))
    height, width = mask.shape
    return (columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)


def shift_image(image: np.ndarray, offset: tuple[int, int]) -> np.ndarray:
    """Return the image shifted by whole pixels (x, y), reflected at the border."""
    x, y = int(offset[0]), int(offset[1])
    pad = max(abs(x), abs(y))
    if pad == 0:
        return image.copy()
    height, width = image.shape[:2]
    wide = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REFLECT_101)
    return wide[pad - y : pad - y + height, pad - x : pad - x + width].copy()


def shift_mask(mask: np.ndarray, offset: tuple[int, int]) -> np.ndarray:
    """Return a mask shifted by whole pixels (x, y), zero at the border."""
    height, width = mask.shape
    x, y = int(np.clip(offset[0], -width, width)), int(np.clip(offset[1], -height, height))
    moved = np.zeros_like(mask)
    source = mask[max(0, -y) : height - max(0, y), max(0, -x) : width - max(0, x)]
    moved[max(0, y) : max(0, y) + source.shape[0], max(0, x) : max(0, x) + source.shape[1]] = source
    return moved


def warp_image(image: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return the image with each pixel taken from (x + dx, y + dy), float32 (height, width) each, in pixels."""
    ys, xs = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    return cv2.remap(image, xs + dx, ys + dy, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101)
