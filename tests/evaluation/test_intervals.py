"""Bootstrap intervals: what they hold, what they resample, what they do not depend on."""

from pathlib import Path

import numpy as np
import pytest

from cac.evaluation.facts import clip_facts
from cac.evaluation.intervals import (
    bootstrap_weights,
    evaluate_facts,
    evaluate_judgements,
    paired_difference,
    per_family,
)
from cac.evaluation.metrics import METRICS, point_values
from cac.schema.annotations import Clip, read_clips
from cac.schema.taxonomy import LEAVES, Family


@pytest.mark.parametrize("seed", range(3))
def test_intervals_hold_their_values(seed, make_pairs, noisy) -> None:
    clips = make_pairs(30)
    judgements, scores = noisy(clips, seed)
    table = evaluate_judgements(clips, judgements, scores, 200, seed)
    points = point_values(clip_facts(clips, judgements, scores))
    assert list(table) == list(METRICS)
    assert table.pop("reward") == {"value": None, "low": None, "high": None}, "no rewards were given"
    for name, interval in table.items():
        assert interval["value"] == pytest.approx(points[name], abs=1e-6)
        assert interval["low"] <= interval["value"] <= interval["high"]
    assert table["recall"]["low"] < table["recall"]["high"]


def test_same_seed_same_numbers_in_any_order(make_pairs, noisy) -> None:
    clips = make_pairs(20)
    judgements, scores = noisy(clips, 0)
    first = evaluate_judgements(clips, judgements, scores, 100, 7)
    assert evaluate_judgements(clips[::-1], judgements[::-1], scores[::-1], 100, 7) == first
    assert evaluate_judgements(clips, judgements, scores, 100, 8) != first


def test_pairs_are_resampled_whole_and_classes_keep_their_size(make_pairs, make_clip, perfect) -> None:
    clips = [*make_pairs(10), make_clip(90), make_clip(91), make_clip(92, "teleport")]
    facts = clip_facts(clips, [perfect(c) for c in clips], [0.5] * len(clips))
    weights = bootstrap_weights(facts, 50, 0)
    assert (weights[:, 0:20:2] == weights[:, 1:20:2]).all()
    assert (weights.sum(axis=1) == len(clips)).all()
    assert (weights @ facts.anomalous == 11).all()
    assert (weights[:, -1] == 1).all()
    assert len(np.unique(weights, axis=0)) > 40


def test_clips_cut_from_one_video_are_resampled_together(make_pairs, perfect) -> None:
    def cut(clip: Clip, video: int) -> Clip:
        return clip.model_copy(update={"pair_id": f"walk-{video:08x}-{clip.pair_id.replace('pair', 's')}-p0"})

    pairs = make_pairs(12)
    clips = [cut(clip, index // 6) for index, clip in enumerate(pairs)]  # three pairs a video
    facts = clip_facts(clips, [perfect(c) for c in clips], [0.5] * len(clips))
    weights = bootstrap_weights(facts, 50, 0)
    assert all(len(np.unique(row[start : start + 6])) == 1 for row in weights for start in range(0, 24, 6))
    assert len(np.unique(facts.pair)) == 12
    assert len(np.unique(facts.group)) == 4


def test_groups_of_the_sample_are_its_pairs(small_dataset: Path, perfect) -> None:
    clips = read_clips(small_dataset)
    facts = clip_facts(clips, [perfect(c) for c in clips], [0.5] * len(clips))
    assert (facts.group == facts.pair).all()


def test_interval_width_is_that_of_a_mean(make_pairs, noisy) -> None:
    clips = make_pairs(200)
    judgements, scores = noisy(clips, 5)
    recall = evaluate_judgements(clips, judgements, scores, 1000, 0)["recall"]
    expected = 2 * 1.96 * np.sqrt(recall["value"] * (1 - recall["value"]) / 200)
    assert recall["high"] - recall["low"] == pytest.approx(expected, rel=0.15)


def test_undefined_stays_undefined(make_clip, perfect) -> None:
    clips = [make_clip(i) for i in range(4)]
    table = evaluate_judgements(clips, [perfect(c) for c in clips], [0.9] * 4, 20, 0)
    assert table["recall"] == {"value": None, "low": None, "high": None}
    assert table["specificity"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_families_are_measured_with_their_own_twins(make_pairs, make_clip, perfect) -> None:
    clips = make_pairs(len(LEAVES))
    blind = make_clip(0, "garbled_text")
    judgements = [
        perfect(c) if c.is_clean or c.anomalies[0].family != Family.TEXT else perfect(make_clip(0)) for c in clips
    ]
    assert blind.anomalies[0].family == Family.TEXT
    table = per_family(clips, judgements, [0.5] * len(clips), 20, 0)
    assert list(table) == [str(family) for family in Family]
    assert {name: row["recall"]["value"] for name, row in table.items()} == {
        "structural_distortion": 1, "temporal_inconsistency": 1, "physical_violation": 1, "corrupted_text": 0,
    }  # fmt: skip
    assert {row["specificity"]["value"] for row in table.values()} == {1.0}
    assert list(per_family(clips[:2], judgements[:2], [0.5] * 2, 20, 0)) == ["structural_distortion"]


def test_paired_difference_of_a_model_with_itself_and_a_worse_one(make_pairs, noisy, perfect) -> None:
    clips = make_pairs(40)
    good = clip_facts(clips, [perfect(c) for c in clips], [float(c.is_clean) for c in clips])
    worse = clip_facts(clips, *noisy(clips, 0), rewards=[0.5] * len(clips))
    same = paired_difference(worse, worse, 100, 0)
    assert {(row["value"], row["low"], row["high"]) for row in same.values()} == {(0.0, 0.0, 0.0)}
    gain = paired_difference(good, worse, 200, 0)["balanced_accuracy"]
    assert gain["value"] == pytest.approx(1 - evaluate_facts(worse, 10, 0)["balanced_accuracy"]["value"], abs=1e-6)
    assert gain["low"] > 0
    with pytest.raises(ValueError, match="same clips"):
        paired_difference(good, clip_facts(clips[:2], [perfect(c) for c in clips[:2]], [0.5, 0.5]), 10, 0)
