"""Temperature scaling recovers what it should, and reliability bins add up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from cac.errors import CacError
from cac.evaluation.calibration import TEMPERATURE_RANGE, bin_indices, calibrated_score, fit_temperature, reliability


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0, 12.0])
def test_recovers_a_known_temperature(temperature) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, 20000)
    is_clean = generator.random(20000) < 1 / (1 + np.exp(-logits))
    assert fit_temperature((logits * temperature).tolist(), is_clean.tolist()) == pytest.approx(temperature, rel=0.05)


def test_extremes_stay_in_range() -> None:
    low, high = TEMPERATURE_RANGE
    assert fit_temperature([3.0, -3.0], [True, False]) == pytest.approx(low, rel=1e-3)
    assert fit_temperature([3.0, -3.0], [False, True]) == pytest.approx(high, rel=1e-3)
    assert fit_temperature([0.0, 0.0], [True, False]) == 1.0


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(CacError, match="val split is empty"):
        fit_temperature([], [])
    with pytest.raises(CacError, match="not finite"):
        fit_temperature([float("nan")], [True])
    with pytest.raises(ValueError, match="shorter"):
        fit_temperature([1.0, 2.0], [True])


def test_score_is_the_sigmoid_of_the_tempered_margin() -> None:
    assert calibrated_score(3.0, 1.5) == pytest.approx(1 / (1 + np.exp(-2)))
    assert calibrated_score(-40.0, 0.05) == 0.0


@settings(deadline=None)
@given(margin=st.floats(-1e6, 1e6), temperature=st.floats(*TEMPERATURE_RANGE))
def test_score_is_a_probability_and_keeps_the_verdict(margin, temperature) -> None:
    score = calibrated_score(margin, temperature)
    assert 0 <= score <= 1
    assert score + calibrated_score(-margin, temperature) == pytest.approx(1)
    assert (score > 0.5) == (margin > 0) or score == pytest.approx(0.5)


@settings(deadline=None)
@given(rows=st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50), bins=st.integers(1, 20))
def test_bins_hold_every_score_once(rows, bins) -> None:
    scores, is_clean = (list(column) for column in zip(*rows, strict=True))
    table = reliability(scores, is_clean, bins)
    assert sum(b.count for b in table) == len(rows)
    assert sum(b.count * b.clean_share for b in table if b.count) == pytest.approx(sum(is_clean))
    assert all((b.mean_score is None) == (b.count == 0) for b in table)
    assert bin_indices(np.array([0.0, 1.0]), bins).tolist() == [0, bins - 1]


def test_bins_agree_with_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    scores = generator.random(300)
    is_clean = generator.random(300) < scores
    share, mean = calibration_curve(is_clean, scores, n_bins=10)
    filled = [b for b in reliability(scores.tolist(), is_clean.tolist(), 10) if b.count]
    assert [b.clean_share for b in filled] == pytest.approx(share)
    assert [b.mean_score for b in filled] == pytest.approx(mean)
