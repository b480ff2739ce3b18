"""Platt scaling recovers what it should, and reliability bins add up."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from cac.errors import CacError
from cac.model.calibration import (
    BIAS_RANGE,
    TEMPERATURE_RANGE,
    Calibration,
    bin_indices,
    fit_calibration,
    fit_threshold,
    reliability,
)
from cac.schema.judgement import Judgement
from cac.schema.taxonomy import Family


@pytest.mark.parametrize(("temperature", "bias"), [(0.2, 0.0), (1.0, -1.5), (3.0, 0.7), (12.0, 2.0)])
def test_recovers_what_it_was_made_with(temperature, bias) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, 20000)
    is_clean = generator.random(20000) < 1 / (1 + np.exp(-logits))
    found = fit_calibration(((logits - bias) * temperature).tolist(), is_clean.tolist())
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.bias == pytest.approx(bias, abs=0.1)


def test_extremes_stay_in_range() -> None:
    low, high = TEMPERATURE_RANGE
    assert low <= fit_calibration([3.0, -3.0], [True, False]).temperature < 0.5
    assert high / 2 < fit_calibration([3.0, -3.0], [False, True]).temperature <= high
    assert fit_calibration([0.0, 0.0], [True, False]) == Calibration(1.0, 0.0)
    assert BIAS_RANGE[0] <= fit_calibration([0.0, 0.0], [True, True]).bias <= BIAS_RANGE[1]


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(CacError, match="val split is empty"):
        fit_calibration([], [])
    with pytest.raises(CacError, match="not finite"):
        fit_calibration([float("nan")], [True])
    with pytest.raises(ValueError, match="shorter"):
        fit_calibration([1.0, 2.0], [True])


def test_score_is_the_sigmoid_of_the_calibrated_margin() -> None:
    assert Calibration(1.5, 0.5).score(3.0) == pytest.approx(1 / (1 + np.exp(-2.5)))
    assert Calibration(0.05).score(-40.0) == 0.0


@settings(deadline=None)
@given(
    margins=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)),
    temperature=st.floats(*TEMPERATURE_RANGE),
    bias=st.floats(*BIAS_RANGE),
)
def test_scores_are_probabilities_in_the_order_of_the_margins(margins, temperature, bias) -> None:
    low, high = (Calibration(temperature, bias).score(margin) for margin in sorted(margins))
    assert 0 <= low <= high <= 1


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


def _balanced_accuracy(calibration: Calibration, margins: list[float], clean: list[bool]) -> float:
    decided = [calibration.score(margin) >= (calibration.threshold or 0.0) for margin in margins]
    right = [
        [said == true for said, true in zip(decided, clean, strict=True) if true is kind] for kind in (True, False)
    ]
    return sum(sum(one) / len(one) for one in right) / 2


@given(st.lists(st.tuples(st.integers(-20, 20), st.booleans()), min_size=2, max_size=30))
def test_no_other_threshold_has_a_better_balanced_accuracy(clips: list[tuple[int, bool]]) -> None:
    margins, clean = [margin / 4 for margin, _ in clips], [one for _, one in clips]
    calibration = Calibration(2.0, 0.3)
    fitted = fit_threshold(calibration, [calibration.score(margin) for margin in margins], clean)
    if len(set(clean)) < 2:
        assert fitted.threshold == 0.5
        return
    best = _balanced_accuracy(fitted, margins, clean)
    for other in [0.0, 0.5, *(fitted.score(margin) for margin in margins)]:
        assert best >= _balanced_accuracy(replace(fitted, threshold=other), margins, clean) - 1e-9


def test_the_threshold_between_two_scores_is_their_middle() -> None:
    scores = [Calibration().score(margin) for margin in (-3.0, -2.0, -1.0, 1.0)]
    fitted = fit_threshold(Calibration(), scores, [False, False, True, True])
    assert fitted.threshold == pytest.approx((Calibration().score(-2.0) + Calibration().score(-1.0)) / 2)


def _judgement(margin: float, *, parsed: bool = True) -> Judgement:
    return Judgement(margin, "anomalous", ((0.0, 1.0),), (), Family.TEXT, "garbled_text", parsed, 6, "", "")


@given(st.floats(-10, 10), st.floats(0.05, 0.95))
def test_verdict_and_score_agree(margin: float, threshold: float) -> None:
    calibration = Calibration(1.5, -0.4, threshold)
    decided = calibration.decide(_judgement(margin))
    assert (decided.verdict == "clean") == (calibration.score(decided.margin) >= threshold)
    assert (decided.leaf is None) == (decided.verdict == "clean")
    assert calibration.decide(decided) == decided


def test_an_answer_that_was_not_parsed_keeps_its_verdict() -> None:
    unparsed = _judgement(0.0, parsed=False)
    assert Calibration(1.0, 0.0, 0.1).decide(unparsed) == unparsed
