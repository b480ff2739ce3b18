"""Every defect: seen in its window and at its place, stronger with severity, the same for the same seed."""

from functools import cache

import numpy as np
import pytest

from cac.data.injection.catalogue import INJECTABLE, REGION_DEFECTS, TEXT_DEFECTS
from cac.data.injection.effects.effect import EffectInput
from cac.data.injection.effects.layers import blend, layer_box
from cac.data.injection.motion import measure_motion
from cac.data.injection.pair import DefectRequest, Pair, make_pair
from cac.data.injection.region import NoRegionError, choose_region
from cac.schema.taxonomy import LEAVES, Family, family_of

FPS = 20.0
IN_PLACE = ("colour_swap", "vanishing", "texture_jitter", "misplaced_part")


@pytest.fixture(scope="module")
def pair_of(moving):
    motion = measure_motion(moving)

    @cache
    def make(leaf: str, severity: float, seed: int = 1) -> Pair:
        return make_pair(moving, motion, FPS, DefectRequest(leaf, severity), np.random.default_rng(seed))

    return make


def change(pair: Pair) -> np.ndarray:
    return np.abs(pair.defective.astype(int) - pair.clean).mean(axis=-1)


def test_leaves_of_all_families_can_be_made():
    assert set(INJECTABLE) <= set(LEAVES)
    assert len(INJECTABLE) >= 12
    assert {family_of(leaf) for leaf in INJECTABLE} == set(Family)


@pytest.mark.parametrize("leaf", INJECTABLE)
def test_a_defect_shows_in_its_window_where_its_boxes_say_and_never_outside_the_window(pair_of, leaf):
    pair = pair_of(leaf, 1.0)
    changed, boxes = change(pair), {box.frame: box.box for box in pair.anomaly.boxes}
    first, last = min(boxes), max(boxes)
    assert sorted(boxes) == list(range(first, last + 1))
    assert pair.anomaly.window == (round(first / FPS, 4), round((last + 1) / FPS, 4))
    assert not changed[:first].any()
    assert not changed[last + 1 :].any()
    for t, (x1, y1, x2, y2) in boxes.items():
        assert 0 <= x1 < x2 <= 1
        assert 0 <= y1 < y2 <= 1
        inside = changed[t, round(y1 * 96) : round(y2 * 96), round(x1 * 128) : round(x2 * 128)]
        # It comes and goes over two frames.
        assert inside.mean() > (2 if first + 2 <= t <= last - 2 else 0.3), t
    assert (changed > 0).mean(axis=(1, 2)).max() < 0.5


@pytest.mark.parametrize("leaf", INJECTABLE)
def test_severity_orders_the_change(pair_of, leaf):
    totals = [change(pair_of(leaf, severity)).sum() for severity in (0.25, 0.6, 1.0)]
    assert totals[0] < totals[1] < totals[2]
    assert pair_of(leaf, 0.6).anomaly.saliency == 0.6


@pytest.mark.parametrize("leaf", INJECTABLE)
def test_the_same_seed_gives_the_same_pixels_and_another_gives_others(moving, pair_of, leaf):
    again = make_pair(moving, measure_motion(moving), FPS, DefectRequest(leaf, 0.6), np.random.default_rng(1))
    assert np.array_equal(again.clean, pair_of(leaf, 0.6).clean)
    assert np.array_equal(again.defective, pair_of(leaf, 0.6).defective)
    assert again.anomaly == pair_of(leaf, 0.6).anomaly
    assert not np.array_equal(again.defective, pair_of(leaf, 0.6, 2).defective)


@pytest.mark.parametrize("leaf", IN_PLACE)
def test_boxes_stay_on_the_thing_that_moves(pair_of, where, leaf):
    away = []
    for box in pair_of(leaf, 1.0).anomaly.boxes:
        x1, y1, x2, y2 = box.box
        away.append(np.array([(x1 + x2) / 2 * 128, (y1 + y2) / 2 * 96]) - where(box.frame))
    assert np.linalg.norm(np.array(away) - away[0], axis=1).max() < 5


@pytest.mark.parametrize("leaf", REGION_DEFECTS)
def test_only_pixels_of_the_region_and_of_where_it_goes_are_touched(moving, leaf):
    first, last = 14, 22
    rng = np.random.default_rng(3)
    region = choose_region(moving, measure_motion(moving), (first, last), 0.3, rng)
    inputs = EffectInput(moving, region, first, last, 1.0, rng)
    for t, layer in zip(inputs.times, REGION_DEFECTS[leaf].make(inputs), strict=True):
        changed = (blend(moving[t], layer) != moving[t]).any(axis=-1)
        x1, y1, x2, y2 = layer_box(layer)
        allowed = region.mask(t) > 0
        allowed[max(0, int(y1 * 96) - 6) : int(y2 * 96) + 7, max(0, int(x1 * 128) - 6) : int(x2 * 128) + 7] = True
        assert not changed[~allowed].any()


@pytest.mark.parametrize("leaf", TEXT_DEFECTS)
def test_text_is_on_both_twins_and_only_spoilt_within_the_window(moving, pair_of, leaf):
    pair = pair_of(leaf, 1.0)
    laid = (pair.clean != moving).any(axis=(0, 3))
    assert 0.01 < laid.mean() < 0.4
    assert not (pair.clean != pair.defective).any(axis=(0, 3))[~laid].any()
    x1, y1, x2, y2 = pair.anomaly.boxes[0].box
    assert laid[round(y1 * 96) : round(y2 * 96), round(x1 * 128) : round(x2 * 128)].mean() > 0.95


def test_a_frozen_thing_stands_where_it_was_before_the_window(pair_of):
    boxes = [box.box for box in pair_of("frozen_region", 1.0).anomaly.boxes]
    assert len(set(boxes)) == 1


def test_a_reversed_thing_goes_back_and_a_fast_one_ahead(pair_of):
    def speed(leaf: str) -> float:
        boxes = pair_of(leaf, 1.0).anomaly.boxes
        return (boxes[-1].box[0] - boxes[0].box[0]) * 128 / (len(boxes) - 1)

    assert speed("reversed_motion") == pytest.approx(-1.5, abs=0.4)
    assert speed("speed_jump") == pytest.approx(1.5 * 2.5, abs=0.7)


def test_too_short_a_segment_is_refused_with_its_reason(moving):
    with pytest.raises(NoRegionError, match="no room"):
        make_pair(
            moving[:10], measure_motion(moving[:10]), FPS, DefectRequest("teleport", 1.0), np.random.default_rng(0)
        )
