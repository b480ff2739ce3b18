"""Metrics: their limits, scikit-learn as the oracle, and what they must not depend on."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from cac.errors import CacError
from cac.evaluation.facts import clip_facts, spatial_iou
from cac.evaluation.metrics import METRICS, point_values
from cac.schema.dialogue import Finding
from cac.schema.judgement import Judgement
from cac.schema.taxonomy import LEAVES

LEAF_LISTS = st.lists(st.sampled_from([None, *LEAVES]), min_size=1, max_size=12)
UNITS = {name for name in METRICS if name != "mean_frames_seen"}


@settings(deadline=None)
@given(leaves=st.lists(st.sampled_from(list(LEAVES)), min_size=1, max_size=8))
def test_perfect_judgements_score_one(leaves, make_clip, perfect) -> None:
    clips = [make_clip(i, leaf) for i, name in enumerate(leaves) for leaf in (name, None)]
    values = point_values(clip_facts(clips, [perfect(c) for c in clips], [float(c.is_clean) for c in clips]))
    zeros = {"expected_calibration_error", "abstain_rate", "clean_window_rate"}
    ones = UNITS - zeros - {"mean_window_share", "mean_box_area", "reward", "mlgm"}
    assert {name: values[name] for name in ones} == dict.fromkeys(ones, pytest.approx(1))
    assert {name: values[name] for name in zeros} == dict.fromkeys(zeros, 0.0)
    assert values["mean_window_share"] == pytest.approx(5 / 16)
    assert values["mean_box_area"] == pytest.approx(0.25**2)


@settings(deadline=None)
@given(leaves=LEAF_LISTS.filter(any))
def test_unreadable_answers_earn_nothing(leaves, make_clip, silent) -> None:
    clips = [make_clip(i, leaf) for i, leaf in enumerate(leaves)]
    values = point_values(clip_facts(clips, [silent(c) for c in clips], [0.5] * len(clips)))
    nothing = ("recall", "f1", "temporal_iou", "temporal_recall_at_0.3", "spatial_iou", "family_accuracy", "parse_rate")
    assert {name: values[name] for name in nothing} == dict.fromkeys(nothing, 0.0)
    assert values["abstain_rate"] == 1
    undefined = ("precision", "mean_window_share", "mean_box_area")
    assert {name: values[name] for name in undefined} == dict.fromkeys(undefined)


def test_a_missing_class_leaves_its_metrics_undefined(make_clip, perfect) -> None:
    clips = [make_clip(i) for i in range(3)]
    values = point_values(clip_facts(clips, [perfect(c) for c in clips], [0.9] * 3))
    undefined = {name for name, value in values.items() if value is None}
    assert undefined == {
        "balanced_accuracy", "precision", "recall", "f1", "auroc", "twin_accuracy", "temporal_iou",
        "temporal_recall_at_0.3", "temporal_recall_at_0.5", "temporal_recall_at_0.7", "spatial_iou",
        "family_accuracy", "leaf_accuracy", "abstain_rate", "mean_window_share", "mean_box_area", "reward",
        "temporal_iou_when_flagged", "mam", "mlgm",
    }  # fmt: skip
    assert values["specificity"] == 1
    assert values["accuracy"] == 1


def test_false_alarms_at_distractors_are_counted_apart(make_clip, perfect) -> None:
    clips = [make_clip(i) for i in (1, 3, 0, 2, 4)] + [make_clip(6, "teleport")]
    assert [bool(clip.distractors) for clip in clips] == [False, False, True, True, True, True]
    alarm = perfect(clips[-1])
    says = [alarm, *(perfect(clip) for clip in clips[1:4]), alarm, alarm]
    values = point_values(clip_facts(clips, says, [0.5] * 6))
    assert values["specificity"] == pytest.approx(3 / 5)
    assert values["distractor_specificity"] == pytest.approx(2 / 3)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])), min_size=2)
)
def test_classification_agrees_with_scikit_learn(rows, make_clip, perfect) -> None:
    truth, flagged, scores = (list(column) for column in zip(*rows, strict=True))
    assume(len(set(truth)) == 2)
    clips = [make_clip(i, "teleport" if anomalous else None) for i, anomalous in enumerate(truth)]
    says = {True: perfect(make_clip(0, "teleport")), False: perfect(make_clip(0))}
    values = point_values(clip_facts(clips, [says[f] for f in flagged], scores))
    assert values["accuracy"] == pytest.approx(sk.accuracy_score(truth, flagged))
    assert values["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, flagged))
    assert values["recall"] == pytest.approx(sk.recall_score(truth, flagged))
    assert values["specificity"] == pytest.approx(sk.recall_score(truth, flagged, pos_label=False))
    assert values["f1"] == pytest.approx(sk.f1_score(truth, flagged))
    assert values["auroc"] == pytest.approx(sk.roc_auc_score(truth, [1 - s for s in scores]))
    if any(flagged):
        assert values["precision"] == pytest.approx(sk.precision_score(truth, flagged))


def test_weighted_metrics_equal_repeated_clips(make_pairs, noisy) -> None:
    clips = make_pairs(11)
    judgements, scores = noisy(clips, 3)
    counts = np.random.default_rng(0).integers(0, 4, len(clips))
    facts = clip_facts(clips, judgements, scores, rewards=[score - 0.3 for score in scores])
    repeated = [i for i, count in enumerate(counts) for _ in range(count)]
    columns = {name: getattr(facts, name)[repeated] for name in facts.__dataclass_fields__}
    expected = point_values(type(facts)(**columns))
    weighted = {name: float(metric(facts, counts[None, :])[0]) for name, metric in METRICS.items()}
    assert weighted == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(22)))
def test_order_of_clips_does_not_matter(order, make_pairs, noisy) -> None:
    clips = make_pairs(11)
    judgements, scores = noisy(clips, 1)
    straight = point_values(clip_facts(clips, judgements, scores))
    mixed = clip_facts([clips[i] for i in order], [judgements[i] for i in order], [scores[i] for i in order])
    assert point_values(mixed) == pytest.approx(straight)


def test_calibration_error_by_hand(make_clip, perfect) -> None:
    clips = [make_clip(0), make_clip(1, "teleport"), make_clip(2), make_clip(3, "teleport")]
    facts = clip_facts(clips, [perfect(c) for c in clips], [0.8, 0.8, 0.3, 0.3], bins=2)
    assert point_values(facts)["expected_calibration_error"] == pytest.approx((2 * 0.3 + 2 * 0.2) / 4)


def test_twins_compare_within_their_pair_and_ties_are_half(make_clip, perfect) -> None:
    clips = [make_clip(i, leaf) for i in range(3) for leaf in ("vanishing", None)]
    scores = [0.9, 0.95, 0.3, 0.3, 0.2, 0.1]
    values = point_values(clip_facts(clips, [perfect(c) for c in clips], scores))
    assert values["twin_accuracy"] == pytest.approx((1 + 0.5 + 0) / 3)


def test_spatial_iou_counts_every_truth_frame(make_clip, perfect) -> None:
    clip = make_clip(0, "melted_body", window=(4, 8))
    first, second, *rest = perfect(clip).findings
    half = replace(perfect(clip), findings=(first, second, *(Finding(f.time) for f in rest)), windows=((0.5, 0.75),))
    assert spatial_iou(clip, half) == pytest.approx(0.5)
    moved = [replace(f, box=f.box and (f.box[0] + 0.25, f.box[1], f.box[2] + 0.25, f.box[3])) for f in half.findings]
    assert spatial_iou(clip, replace(half, findings=tuple(moved))) == 0


def test_family_and_leaf_need_an_anomalous_verdict(make_clip, perfect) -> None:
    clip = make_clip(0, "extra_limb")
    sibling = replace(perfect(clip), leaf="missing_limb")
    hidden = replace(perfect(clip), verdict="clean")
    for judgement, family, leaf in ((sibling, 1, 0), (hidden, 0, 0), (perfect(clip), 1, 1)):
        values = point_values(clip_facts([clip], [judgement], [0.5]))
        assert (values["family_accuracy"], values["leaf_accuracy"]) == (family, leaf)


def test_window_share_is_cut_to_the_clip(make_clip, perfect) -> None:
    clip = make_clip(0, "teleport")
    judgement: Judgement = replace(perfect(clip), windows=((1.0, 50.0),))
    assert point_values(clip_facts([clip], [judgement], [0.1]))["mean_window_share"] == pytest.approx(0.5)


def test_bad_input_is_refused(make_clip, perfect) -> None:
    clip = make_clip(0)
    with pytest.raises(CacError, match="no clip to evaluate"):
        clip_facts([], [], [])
    with pytest.raises(ValueError, match="probabilities"):
        clip_facts([clip], [perfect(clip)], [1.5])
    with pytest.raises(ValueError, match="shorter"):
        clip_facts([clip, clip], [perfect(clip)], [0.5, 0.5])


def test_windows_on_clean_clips_are_counted(make_clip, perfect) -> None:
    clips = [make_clip(0), make_clip(1), make_clip(2, "teleport")]
    judgements = [replace(perfect(clips[0]), windows=((0.0, 1.0),)), perfect(clips[1]), perfect(clips[2])]
    assert point_values(clip_facts(clips, judgements, [0.9, 0.9, 0.1]))["clean_window_rate"] == 0.5


def test_right_together_means_verdict_window_and_boxes(make_clip, perfect) -> None:
    clips = [make_clip(i, "melted_body", window=(4, 8)) for i in range(4)] + [make_clip(9)]
    right = [perfect(clip) for clip in clips]
    early = replace(right[1], windows=((0.0, 0.75),))
    elsewhere = replace(right[2], findings=tuple(Finding(f.time, (0.0, 0.0, 0.01, 0.01)) for f in right[2].findings))
    hidden = replace(right[3], verdict="clean")
    values = point_values(clip_facts(clips, [right[0], early, elsewhere, hidden, right[4]], [0.1] * 4 + [0.9]))
    assert values["joint_accuracy"] == pytest.approx(2 / 5)
    assert values["temporal_iou_when_flagged"] == pytest.approx((1 + 0.25 + 1) / 3, abs=0.01)


def test_the_aggregates_of_v_star_are_the_means_of_three_values(make_clip, perfect) -> None:
    clips = [make_clip(0, "melted_body", window=(4, 8)), make_clip(1)]
    half = replace(perfect(clips[0]), windows=((0.5, 0.75),))
    values = point_values(clip_facts(clips, [half, replace(perfect(clips[1]), verdict="anomalous")], [0.1, 0.2]))
    three = [values["accuracy"], values["temporal_iou"], values["spatial_iou"]]
    assert three[:2] == [0.5, pytest.approx(0.5)]
    assert values["mam"] == pytest.approx(sum(three) / 3)
    assert values["mlgm"] == pytest.approx(-sum(math.log(1 - min(v, 1 - 1e-6)) for v in three) / 3)
