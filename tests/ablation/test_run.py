"""Variants train and are evaluated; common stages are trained once."""

import json
from pathlib import Path

import pytest

from cac.ablation.run import VERDICT_METRICS, WORKSPACES, run_variant
from cac.errors import CacError
from cac.model.reward_model import RewardModel
from cac.params import Params
from cac.schema.annotations import read_clips
from cac.schema.judgement import Judgement

pytestmark = pytest.mark.slow


@pytest.fixture
def params(project_params: Params, fresh_base: Path) -> Params:
    values = project_params.model_dump()
    values["compute"]["threads"] = 1
    values["model"]["base"] = str(fresh_base)
    values["frames"] |= {"coarse_count": 3, "coarse_size": 32, "dense_count": 2, "dense_size": 32, "one_look_size": 32}
    values["adapter"]["r"] = 4
    for stage in ("single_frame_sft", "multi_frame_sft"):
        values[stage] |= {"max_steps": 2, "batch_size": 4, "save_steps": 2, "logging_steps": 1}
    values["two_turn_grpo"] |= {
        "max_steps": 1,
        "prompts_per_step": 1,
        "num_generations": 2,
        "batch_size": 2,
        "max_turn_tokens": 8,
    }
    values["two_turn_grpo"]["rejection_sampling"]["clips"] = 0
    values["evaluation"]["max_turn_tokens"] = 8
    return Params.model_validate(values)


@pytest.fixture
def root(tmp_path: Path, small_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with clips and an MLflow store, in which the test works."""
    (tmp_path / "data").symlink_to(small_dataset)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_variants_share_common_stages(root: Path, params: Params) -> None:
    trained = {}
    for name in ("without_stage_3", "full", "one_look"):
        run_variant(params, name, 3, root, root / f"{name}.json")
        trained[name] = {path.name for path in (root / WORKSPACES).iterdir()}
    assert len(trained["without_stage_3"]) == 2
    assert len(trained["full"] - trained["without_stage_3"]) == 1, "only the third stage is new"
    assert len(trained["one_look"] - trained["full"]) == 2, "both stages see other frames"
    result = json.loads((root / "full.json").read_text())
    assert (result["variant"], result["seed"]) == ("full", 3)
    assert result["val"]["parse_rate"] is not None
    assert set(result["ceiling"]) == set(result["relative_to_ceiling"]) == {"temporal_iou", "spatial_iou"}
    assert result["ceiling"] != json.loads((root / "one_look.json").read_text())["ceiling"], "one look has its own"
    assert "test" not in result


def test_the_baselines_that_people_would_use_are_trained_and_judged(root: Path, params: Params) -> None:
    run_variant(params, "frame_judge", 3, root, root / "frame_judge.json")
    (first,) = (root / WORKSPACES).iterdir()
    run_variant(params, "yes_no", 3, root, root / "yes_no.json")
    assert len(list((root / WORKSPACES).iterdir())) == 3, "both stages of yes_no ask another question"
    run_variant(params, "without_stage_3", 3, root, root / "without_stage_3.json")
    assert len(list((root / WORKSPACES).iterdir())) == 4, "frame_judge has the adapter of single_frame_sft"
    assert (first / "models/single_frame_sft").is_dir()
    results = {name: json.loads((root / f"{name}.json").read_text()) for name in ("frame_judge", "yes_no")}
    answered = {name for name, value in results["yes_no"]["val"].items() if value is not None}
    assert {"auroc", "balanced_accuracy", "twin_accuracy", "recall", "parse_rate"} <= answered
    assert answered <= set(VERDICT_METRICS)
    assert set(results["yes_no"]["relative_to_ceiling"].values()) == {None}
    assert results["yes_no"]["val"]["mean_frames_seen"] == results["frame_judge"]["val"]["mean_frames_seen"] == 5
    run_variant(params, "one_look", 3, root, root / "one_look.json")
    assert results["frame_judge"]["ceiling"] == json.loads((root / "one_look.json").read_text())["ceiling"]


def test_the_verdict_of_every_variant_follows_from_its_score(
    root: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = [clip.is_clean for clip in read_clips(root / "data", "val")]
    wrong = [Judgement(-1.0 if clean else -2.0, "anomalous", (), (), None, None, True, 5, "", "") for clean in truth]
    monkeypatch.setattr(RewardModel, "judge", lambda _self, _videos, _batch_size: wrong)
    run_variant(params, "yes_no", 3, root, root / "yes_no.json")
    assert json.loads((root / "yes_no.json").read_text())["val"]["balanced_accuracy"] == 1.0


def test_another_train_partition_is_trained_separately(root: Path, params: Params) -> None:
    run_variant(params, "without_stage_3", 3, root, root / "once.json")
    before = set((root / WORKSPACES).iterdir())
    partition = params.train_partition
    partition = partition.model_copy(update={"reinforcement_ratio": partition.reinforcement_ratio / 2})
    params = params.model_copy(update={"train_partition": partition})
    run_variant(params, "without_stage_3", 3, root, root / "again.json")
    assert len(set((root / WORKSPACES).iterdir()) - before) == 2


def test_variants_trained_with_other_rewards_are_evaluated_with_the_same_reward(
    root: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    flagged = Judgement(-1.0, "anomalous", ((0.0, 9.0),), (), None, None, True, 5, "", "")
    monkeypatch.setattr(RewardModel, "judge", lambda _self, videos, _batch_size: [flagged] * len(videos))
    measured = {}
    for name in ("full", "without_temporal_reward"):
        run_variant(params, name, 3, root, root / f"{name}.json")
        measured[name] = json.loads((root / f"{name}.json").read_text())["val"]
    assert measured["full"]["temporal_iou"] > 0
    assert measured["without_temporal_reward"] == measured["full"]


def test_an_unknown_variant_is_an_error_that_lists_the_variants(tmp_path: Path, params: Params) -> None:
    with pytest.raises(CacError, match=r"no variant 'halves'.*one_look"):
        run_variant(params, "halves", 1, tmp_path, tmp_path / "out.json")
