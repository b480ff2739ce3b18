"""Layers: what they change, what they leave, and the boxes they get."""

import numpy as np
import pytest

from cac.data.injection.effects.fill import fill_hole
from cac.data.injection.effects.layers import Layer, blend, layer_box, mix_textures, shift_image, shift_mask

RNG = np.random.default_rng(0)
FRAME = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)


def mask_of(rows: slice, columns: slice, value: float = 1.0) -> np.ndarray:
    mask = np.zeros((40, 60), np.float32)
    mask[rows, columns] = value
    return mask


def test_a_layer_changes_nothing_outside_of_its_mask():
    mask = mask_of(slice(10, 20), slice(30, 45), 0.7)
    changed = (blend(FRAME, Layer(255 - FRAME, mask)) != FRAME).any(axis=-1)
    assert changed[mask > 0].mean() > 0.9
    assert not changed[mask == 0].any()


def test_a_box_holds_what_is_seen():
    layer = Layer(FRAME, np.ones((40, 60), np.float32), mask_of(slice(10, 20), slice(30, 45)))
    assert layer_box(layer) == (30 / 60, 10 / 40, 45 / 60, 20 / 40)
    with pytest.raises(ValueError, match="empty"):
        layer_box(Layer(FRAME, np.zeros((40, 60), np.float32)))


@pytest.mark.parametrize("offset", [(5, 3), (-5, -3), (0, 0), (70, 50), (-7, 2)])
def test_pixels_and_masks_move_alike(offset):
    x, y = offset
    mask = mask_of(slice(10, 20), slice(30, 45))
    there, moved = shift_mask(mask, offset) > 0, shift_image(FRAME, (x % 20, y % 20))
    assert there.sum() == (150 if abs(x) < 20 else 0)
    assert np.array_equal(moved[y % 20 :, x % 20 :], FRAME[: 40 - y % 20, : 60 - x % 20])


def test_mixing_keeps_the_grain_that_a_mean_would_lose():
    other = RNG.integers(0, 256, FRAME.shape, dtype=np.uint8)
    half = np.full((40, 60), 0.5, np.float32)
    plain = FRAME / 2 + other / 2
    assert plain.std() < 0.75 * FRAME.std()
    assert mix_textures(FRAME, other, half).std() > 0.9 * FRAME.std()
    assert np.allclose(mix_textures(FRAME, other, 0 * half), FRAME, atol=0.01)


def test_a_hole_takes_the_colour_around_and_the_texture_beside():
    frame = np.clip(120 + RNG.normal(0, 12, (80, 80, 1)) + np.zeros(3), 0, 255).astype(np.uint8)
    frame[30:50, 30:50] = (250, 20, 20)
    hole = np.zeros((80, 80), np.float32)
    hole[28:52, 28:52] = 1
    done = fill_hole(frame, hole, (26, 0))[32:48, 32:48]
    assert np.abs(done.mean(axis=(0, 1)) - 120).max() < 10
    assert 6 < done.std() < 18
