"""The evaluation stage as a whole, on real adapters of a base with random weights."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.adapters import changed_adapter

from cac.errors import CacError
from cac.evaluation.evaluate import evaluate
from cac.evaluation.judging import judge_all, reward_model
from cac.evaluation.metrics import METRICS
from cac.model.adapters import save_adapter
from cac.model.loading import base_identity, load_base
from cac.params import Params
from cac.paths import SCRATCH, TRAINING_STAGES
from cac.schema.annotations import read_clips
from cac.video.clip_store import ClipStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def params(project_params: Params, fresh_base: Path) -> Params:
    evaluation = {"batch_size": 16, "max_turn_tokens": 6, "bootstrap_samples": 20, "report_clips": 2}
    return project_params.model_copy(
        update={
            "compute": project_params.compute.model_copy(update={"threads": 1}),
            "model": project_params.model.model_copy(update={"base": str(fresh_base)}),
            "adapter": project_params.adapter.model_copy(update={"r": 2}),
            "evaluation": project_params.evaluation.model_copy(update=evaluation),
        }
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory, small_dataset: Path, params: Params) -> Path:
    root = tmp_path_factory.mktemp("evaluated")
    (root / "data").symlink_to(small_dataset)
    model = changed_adapter(load_base(params.model)[0], params.adapter)
    for stage in TRAINING_STAGES:
        save_adapter(model, root / "models" / stage, base_identity(params.model))
    evaluate(params, root)
    return root


def test_every_row_has_every_metric_with_its_interval(root: Path) -> None:
    metrics = json.loads((root / "metrics/evaluation.json").read_text())
    assert set(metrics) == {"val", "test"}
    for rows in metrics.values():
        assert set(rows) == {"base", "base_guided", *TRAINING_STAGES, "majority", "frame_difference", "perfect_answers"}
        for row in rows.values():
            assert set(row) == set(METRICS)
            assert all(set(entry) == {"value", "low", "high"} for entry in row.values())
    assert metrics["test"]["base"]["parse_rate"]["value"] == 0  # answers of six tokens are cut off
    assert metrics["test"]["base"]["balanced_accuracy"]["value"] == 0.5


def test_the_base_by_itself_counts_only_what_it_says_without_the_grammar(root: Path, params: Params) -> None:
    judged = judge_all(params, root, ["val"])
    assert judged["base"]["val"] == [judgement.without_constraint() for judgement in judged["base_guided"]["val"]]
    assert not any(judgement.unaided for judgement in judged["base_guided"]["val"])


def test_predictions_cover_every_clip_of_both_splits(root: Path) -> None:
    lines = [json.loads(line) for line in (root / "evaluation/predictions.jsonl").read_text().splitlines()]
    clips = [clip for clip in read_clips(root / "data") if clip.split != "train"]
    assert len(lines) == 8 * len(clips)
    assert {line["clip_id"] for line in lines} == {clip.clip_id for clip in clips}
    assert all(0 <= line["score"] <= 1 for line in lines)
    calibrations = json.loads((root / "evaluation/calibration.json").read_text())
    assert set(calibrations) == {line["row"] for line in lines}
    assert all(set(row) == {"temperature", "bias", "threshold"} for row in calibrations.values())
    assert (root / "reports/evaluation/index.html").is_file()
    for line in lines:
        threshold, parsed = calibrations[line["row"]]["threshold"], line["judgement"]["parsed"]
        clean = line["judgement"]["verdict"] == "clean"
        assert not parsed or abs(line["score"] - threshold) < 1e-5 or clean == (line["score"] >= threshold)


def test_any_number_of_processes_judges_alike(root: Path, params: Params) -> None:
    two = params.model_copy(update={"compute": params.compute.model_copy(update={"threads": 2})})
    alone, together = judge_all(params, root, ["val"]), judge_all(two, root, ["val"])
    assert alone == together
    assert len(alone["base"]["val"]) == len(read_clips(root / "data", "val"))


def test_an_image_that_another_checkpoint_saw_is_judged_as_if_seen_anew(root: Path, params: Params) -> None:
    store, clips = ClipStore(root / "data"), read_clips(root / "data", "val")
    videos = [store.video(clip) for clip in clips]
    together = judge_all(params, root, ["val"])
    for row, of_row in (("base", "base_guided"), *((stage, stage) for stage in TRAINING_STAGES)):
        alone = reward_model(row, params, root).judge(videos, params.evaluation.batch_size)
        judged = together[of_row]["val"]
        assert [replace(one, margin=0) for one in judged] == [replace(one, margin=0) for one in alone]
        assert [one.margin for one in judged] == pytest.approx([one.margin for one in alone], abs=1e-4)


def test_what_was_judged_is_not_judged_again(root: Path, params: Params) -> None:
    judge_all(params, root, ["val"])
    (root / SCRATCH / "checkpoints" / "evaluate" / "base-val-0.json").write_text("[]")
    assert judge_all(params, root, ["val"])["base"]["val"] == []


def test_a_missing_adapter_is_named(root: Path, params: Params, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(root / "data")
    shutil.copytree(root / "models" / "single_frame_sft", tmp_path / "models" / "single_frame_sft")
    with pytest.raises(CacError, match=r"no adapter at .*multi_frame_sft"):
        evaluate(params, tmp_path)
