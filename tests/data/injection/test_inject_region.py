"""The region: on what moves, and staying on it."""

import numpy as np
import pytest

from cac.data.injection.motion import camera_flow, measure_motion
from cac.data.injection.region import NoRegionError, Region, choose_region, paste_shape
from cac.data.injection.segments import cut_segments

WINDOW = (8, 24)


@pytest.fixture(scope="module")
def motion(moving):
    return measure_motion(moving)


@pytest.mark.parametrize("seed", range(4))
def test_a_region_lies_on_what_moves_and_follows_it(moving, motion, where, seed):
    region = choose_region(moving, motion, WINDOW, 0.3, np.random.default_rng(seed))
    away = np.array([region.centres[t] - np.array(where(t)) for t in range(WINDOW[0], WINDOW[1] + 1)])
    assert np.linalg.norm(away[0]) < 22, "it starts on the disc"
    assert np.linalg.norm(away - away[0], axis=1).max() < 5, "and keeps its place on it"
    assert region.travel(*WINDOW) == pytest.approx(1.5 * 16, abs=6)


def test_the_cameras_share_of_the_flow_is_taken_off(moving):
    ys, xs = np.mgrid[0:96, 0:128].astype(np.float32)
    pan = np.stack([2 + 0.01 * xs, -1 + 0 * ys], axis=-1)
    thing = pan.copy()
    thing[30:60, 40:70] += 5
    assert np.abs(camera_flow(thing) - pan).max() < 0.3


def test_a_flat_still_segment_has_no_region():
    frames = np.full((20, 64, 64, 3), 120, np.uint8)
    with pytest.raises(NoRegionError):
        choose_region(frames, measure_motion(frames), (4, 12), 0.0, np.random.default_rng(0))


def test_what_does_not_get_far_enough_is_refused_with_its_reason(moving):
    still = np.repeat(moving[:1], 20, axis=0)
    with pytest.raises(NoRegionError, match="far enough"):
        choose_region(still, measure_motion(still), (4, 12), 0.3, np.random.default_rng(0))


def test_a_shape_is_cut_where_the_frame_ends():
    shape = np.ones((5, 7), np.float32)
    assert paste_shape(shape, (10, 10), (20, 20)).sum() == 35
    assert paste_shape(shape, (0, 0), (20, 20)).sum() == 3 * 4
    region = Region(shape, np.array([[0, 10], [40, 10]]), (20, 20))
    assert region.visible(0) == pytest.approx(4 / 7)
    assert region.visible(1) == 0


def test_a_scene_cut_and_the_length_end_a_segment(moving):
    frames = [*moving[:30], *(255 - moving[:12])]
    assert [len(cut) for cut in cut_segments(frames, 20)] == [20, 10, 12]
    assert np.array_equal(np.concatenate(list(cut_segments(frames, 20))), np.stack(frames))
