"""The gate's error rates: a small version of `benchmarks/gate_errors.py`, at the discordance it assumes."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.gate_errors import (
    largest_fall,
    new_registry,
    refused,
    refused_in_chain,
    with_samples,
)
from cac.evaluation.metrics import METRICS
from cac.params import load_params

PAIRS, DISCORDANCE = 395, 0.1
SEEDS = range(20)


@pytest.fixture(scope="module")
def shipped():
    """The settings of the project, with fewer bootstrap samples."""
    return with_samples(load_params(Path(__file__).parents[2] / "params.yaml"), 200)


def value(metric, facts):
    return METRICS[metric](facts, np.ones((1, len(facts.flagged))))[0]


def test_two_trainings_of_equal_quality_differ_on_as_many_clips_as_assumed(shipped):
    split = new_registry(shipped, PAIRS, DISCORDANCE, 0).split
    first, second = split.draw(0.875).facts, split.draw(0.875).facts
    assert np.mean(first.flagged != second.flagged) == pytest.approx(DISCORDANCE, abs=0.03)


def test_flipping_3_percent_of_the_verdicts_again_and_again_does_not_pass(shipped):
    """It passed six times in a row when only the champion's interval counted: 0.875 became 0.700."""
    registry, chance = new_registry(shipped, PAIRS, DISCORDANCE, 1), np.random.default_rng(0)
    before = value("balanced_accuracy", registry.champion.facts)
    for _ in range(6):
        facts = registry.champion.facts
        flagged = np.where(chance.random(2 * PAIRS) < 0.03, 1 - facts.flagged, facts.flagged)
        registry.offer(registry.split.model(0.0, flagged > 0, facts.score, facts.named > 0))
    assert value("balanced_accuracy", registry.champion.facts) > before - 0.02


def test_scores_shuffled_within_each_verdict_do_not_pass(shipped):
    """No verdict changes, but consumers use the score."""
    registry, chance = new_registry(shipped, PAIRS, DISCORDANCE, 1), np.random.default_rng(0)
    facts = registry.champion.facts
    score = facts.score.copy()
    for verdict in (0, 1):
        score[facts.flagged == verdict] = chance.permutation(score[facts.flagged == verdict])
    shuffled = registry.split.model(0.0, facts.flagged > 0, score, facts.named > 0)
    assert value("auroc", shuffled.facts) < value("auroc", facts) - 0.03
    assert "auroc_difference" in [check.name for check in registry.offer(shuffled)]


def test_ten_candidates_each_a_little_worse_do_not_bring_the_champion_down_by_more_than_3_points(shipped):
    assert max(largest_fall(new_registry(shipped, PAIRS, DISCORDANCE, seed)) for seed in SEEDS) <= 0.03 + 1e-9


def test_at_most_a_tenth_of_equal_candidates_is_refused(shipped):
    """Also after the champion has been replaced, when two versions must be matched."""
    assert np.mean([refused_in_chain(new_registry(shipped, PAIRS, DISCORDANCE, seed)) for seed in SEEDS]) <= 0.1


def test_a_candidate_2_points_better_is_seldom_refused(shipped):
    assert np.mean([bool(refused(new_registry(shipped, PAIRS, DISCORDANCE, seed), 0.02)) for seed in SEEDS]) <= 0.1
