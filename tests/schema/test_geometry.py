"""Overlap measures, by the properties any such measure must have and by a few worked numbers."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.schema.geometry import (
    Box,
    Window,
    box_area,
    box_iou,
    cell_shares,
    interpolate_box,
    merge_windows,
    rounded_box,
    temporal_iou,
    total_length,
)

times = st.floats(0, 100, allow_nan=False).map(lambda t: round(t, 3))
shares = st.floats(0, 1, allow_nan=False).map(lambda t: round(t, 4))
windows = st.tuples(times, times).map(lambda pair: (min(pair), max(pair)))
window_lists = st.lists(windows, max_size=6)
boxes = st.tuples(shares, shares, shares, shares).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)
few = settings(max_examples=50, deadline=None)


@few
@given(window_lists, window_lists)
def test_temporal_iou_is_symmetric_and_a_share(a: list[Window], b: list[Window]) -> None:
    value = temporal_iou(a, b)

    assert 0 <= value <= 1
    assert value == pytest.approx(temporal_iou(b, a))


@few
@given(window_lists)
def test_windows_fully_overlap_themselves_in_any_order_and_number(value: list[Window]) -> None:
    expected = 1.0 if total_length(value) > 0 else 0.0

    assert temporal_iou(value, [*reversed(value), *value]) == pytest.approx(expected)


@few
@given(window_lists)
def test_windows_after_all_others_overlap_nothing(value: list[Window]) -> None:
    assert temporal_iou(value, [(start + 200, end + 200) for start, end in value]) == 0


@few
@given(window_lists)
def test_merged_windows_are_sorted_and_disjoint_and_cover_the_same(value: list[Window]) -> None:
    merged = merge_windows(value)

    assert all(a_end < b_start for (_, a_end), (b_start, _) in pairwise(merged))
    assert merge_windows(merged) == merged
    for start, end in value:
        assert any(m_start <= start and end <= m_end for m_start, m_end in merged)
    assert {edge for window in merged for edge in window} <= {edge for window in value for edge in window}


@few
@given(window_lists, windows)
def test_one_more_window_never_shortens_the_union(value: list[Window], extra: Window) -> None:
    longer = total_length([*value, extra])

    assert longer >= total_length(value) - 1e-9
    assert longer <= total_length(value) + (extra[1] - extra[0]) + 1e-9


@few
@given(st.floats(0, 10), st.floats(0, 10))
def test_temporal_iou_falls_as_the_guess_moves_away(near: float, step: float) -> None:
    def shifted(by: float) -> float:
        return temporal_iou([(20 + by, 30 + by)], [(20, 30)])

    assert shifted(near + step) <= shifted(near) + 1e-9


def test_temporal_iou_of_worked_examples() -> None:
    assert temporal_iou([(0, 2)], [(1, 3)]) == pytest.approx(1 / 3)
    assert temporal_iou([(0, 1), (2, 3)], [(0, 3)]) == pytest.approx(2 / 3)
    assert temporal_iou([(0, 2), (1, 3)], [(0, 3)]) == 1
    assert temporal_iou([], [(0, 3)]) == temporal_iou([], []) == 0
    assert temporal_iou([(1, 1)], [(1, 1)]) == 0


@few
@given(boxes, boxes)
def test_box_iou_is_symmetric_and_a_share(a: Box, b: Box) -> None:
    value = box_iou(a, b)

    assert 0 <= value <= 1
    assert value == pytest.approx(box_iou(b, a))


@few
@given(boxes)
def test_a_box_fully_overlaps_itself_and_not_what_is_beside_it(box: Box) -> None:
    beside = (box[0] + 1, box[1], box[2] + 1, box[3])

    assert box_iou(box, box) == pytest.approx(1.0 if box_area(box) > 0 else 0.0)
    assert box_iou(box, beside) == 0


@few
@given(boxes, st.floats(0, 1), st.floats(0, 1))
def test_box_iou_with_a_shrunken_box_is_the_share_of_area(box: Box, a: float, b: float) -> None:
    centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) * 2
    small, large = (interpolate_box(box, centre, weight) for weight in (max(a, b), min(a, b)))

    assert box_iou(box, small) <= box_iou(box, large) + 1e-9
    if box_area(box) > 1e-6:
        assert box_iou(box, large) == pytest.approx((1 - min(a, b)) ** 2, abs=1e-6)


def test_box_measures_of_worked_examples() -> None:
    assert box_area((0.1, 0.2, 0.5, 0.7)) == pytest.approx(0.2)
    assert box_area((0.5, 0.2, 0.1, 0.7)) == box_area((0.5, 0.7, 0.1, 0.2)) == 0
    assert box_iou((0, 0, 2, 1), (1, 0, 3, 1)) == pytest.approx(1 / 3)
    assert box_iou((0, 0, 1, 1), (1, 1, 2, 2)) == 0


@few
@given(boxes, boxes, st.floats(0, 1))
def test_an_interpolated_box_lies_between_its_ends(a: Box, b: Box, weight: float) -> None:
    assert interpolate_box(a, b, 0) == a
    assert interpolate_box(a, b, 1) == pytest.approx(b)
    for value, start, end in zip(interpolate_box(a, b, weight), a, b, strict=True):
        assert min(start, end) - 1e-9 <= value <= max(start, end) + 1e-9


def test_interpolation_and_rounding_of_worked_examples() -> None:
    assert interpolate_box((0, 0, 1, 1), (1, 0, 2, 3), 0.25) == (0.25, 0, 1.25, 1.5)
    assert rounded_box((0.12344, 0.12346, 1, 0)) == (0.1234, 0.1235, 1, 0)
    assert rounded_box((0.14, 0.16, 1, 0), digits=1) == (0.1, 0.2, 1, 0)


@few
@given(boxes, st.integers(1, 7), st.integers(1, 7))
def test_the_cells_of_a_grid_share_out_the_whole_box(box: Box, rows: int, columns: int) -> None:
    shares = cell_shares(box, rows, columns)

    assert shares.shape == (rows, columns)
    assert ((shares >= 0) & (shares <= 1 + 1e-9)).all()
    assert shares.sum() / (rows * columns) == pytest.approx(box_area(box), abs=1e-9)


def test_a_grid_is_counted_by_rows_from_the_upper_left() -> None:
    assert cell_shares((0.5, 0.0, 1.0, 0.25), 2, 2).tolist() == [[0.0, 0.5], [0.0, 0.0]]
