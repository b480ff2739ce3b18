"""Drift: equal data has none, and what moved is measured as far as it moved."""

import pytest
from helpers.invented_clips import invented_clips
from hypothesis import given
from hypothesis import strategies as st

from cac.data.validation.drift import (
    MEASURES,
    DatasetProfile,
    Histogram,
    Reference,
    largest_gap,
    measure_drift,
    profile_of,
)
from cac.errors import CacError

NUMBERS = st.lists(st.floats(0, 1e6), min_size=1, max_size=50)


def spread_of(values: list[float]) -> Histogram:
    spread = Histogram()
    for value in values:
        spread.add(value)
    return spread


@given(NUMBERS, NUMBERS)
def test_distance_is_symmetric_bounded_and_zero_of_the_same(a: list[float], b: list[float]) -> None:
    assert largest_gap(spread_of(a), spread_of(a)) == 0
    found = largest_gap(spread_of(a), spread_of(b))
    assert found == largest_gap(spread_of(b), spread_of(a))
    assert found is not None
    assert 0 <= found <= 1


def test_distance_is_the_share_that_is_elsewhere() -> None:
    assert largest_gap(spread_of([1.0] * 10), spread_of([1.0] * 7 + [3.0] * 3)) == pytest.approx(0.3)
    assert largest_gap(spread_of([1.0, 2.0]), spread_of([10.0])) == 1
    assert largest_gap(spread_of([1.0]), Histogram()) is None


def test_quantiles_are_right_to_half_a_per_cent() -> None:
    found = spread_of([float(value) for value in range(1, 1001)]).quantiles()
    assert found == {name: pytest.approx(value, rel=0.01) for name, value in
                     {"p05": 50, "median": 500, "p95": 950}.items()}  # fmt: skip
    assert spread_of([0.0, float("inf")]).quantiles() == {"p05": 0.0, "median": 0.0, "p95": 0.0}


def test_shares_and_numbers_say_before_after_and_how_far() -> None:
    clips = list(invented_clips(80))
    before = profile_of(clips)
    assert all(one.drift == 0 for one in measure_drift(before, profile_of(clips)))
    slower = [clip.model_copy(update={"fps": clip.fps / 4}) for clip in clips if clip.is_clean]
    found = {one.measure: one for one in measure_drift(before, profile_of(slower))}
    assert tuple(found) == MEASURES
    assert (found["clean"].before, found["clean"].after, found["clean"].drift) == (0.5, 1.0, 0.5)
    assert found["duration"].drift == 1
    assert found["duration"].after["median"] == pytest.approx(4 * found["duration"].before["median"], rel=0.1)  # type: ignore[index]
    assert (found["box_area"].after, found["box_area"].drift) == (None, None)


def test_a_reference_without_clips_is_a_mistake() -> None:
    with pytest.raises(CacError, match="old has no clip"):
        Reference("old", DatasetProfile())
