"""`cac status` on stages: that it finds what DVC finds, without DVC."""

import json
import shutil

import pytest
import yaml
from helpers.flow_project import Project

from cac.status.stages import FRESH, NEVER_RAN, STALE, stage_states

pytestmark = pytest.mark.slow

STAGES = ["validate", "single_frame_sft", "multi_frame_sft", "two_turn_grpo", "evaluate"]


def reasons(project: Project) -> dict[str, tuple[str, ...]]:
    return {stage.name: stage.why for stage in stage_states(project.root)}


def test_before_anything_ran_nothing_is_fresh(project):
    assert {stage.name: stage.state for stage in stage_states(project.root)} == dict.fromkeys(STAGES, NEVER_RAN)


def test_a_change_is_named_and_what_follows_follows(finished):
    assert {stage.state for stage in stage_states(finished.root)} == {FRESH}
    finished.set_param("multi_frame_sft", "max_steps", 7)
    (finished.root / "src/cac/schema/judgement.py").write_text("changed")
    states = {stage.name: stage.state for stage in stage_states(finished.root)}
    assert states == dict.fromkeys(STAGES[:2], FRESH) | dict.fromkeys(STAGES[2:], STALE)
    assert reasons(finished)["multi_frame_sft"] == ("multi_frame_sft",)
    assert reasons(finished)["two_turn_grpo"] == ("src/cac/schema/judgement.py",)
    graph = yaml.safe_load((finished.root / "dvc.yaml").read_text())
    graph["stages"]["two_turn_grpo"]["cmd"] += " again"
    (finished.root / "dvc.yaml").write_text(yaml.safe_dump(graph))
    (finished.root / "evaluation" / "result.json").write_text("{}")
    assert reasons(finished)["two_turn_grpo"] == ("its command", "src/cac/schema/judgement.py")
    assert reasons(finished)["evaluate"] == ("src/cac/schema/judgement.py", "its result evaluation")
    said = json.loads(finished.dvc("status", "--json"))
    assert set(said) == {name for name, why in reasons(finished).items() if why}


def test_what_follows_says_after_what(finished):
    finished.set_param("validation", "min_clips_per_split", 7)
    assert reasons(finished)["single_frame_sft"] == ("follows validate",)
    assert reasons(finished)["evaluate"][0].startswith("follows")


def test_results_that_are_not_there_are_no_reason_to_run(finished):
    shutil.rmtree(finished.root / "models")
    shutil.rmtree(finished.root / "reports")
    shutil.rmtree(finished.root / "data")
    stages = stage_states(finished.root)
    assert {stage.state for stage in stages} == {FRESH}
    missing = {stage.name: stage.missing for stage in stages}
    assert missing["validate"] == ("reports/validation",)
    assert missing["two_turn_grpo"] == ("models/two_turn_grpo",)


def test_other_data_makes_all_that_reads_it_stale(finished):
    (finished.root / "data" / "annotations.jsonl").write_text("{}\n{}\n")
    finished.dvc("add", "--quiet", "data")
    assert all("data" in why for why in reasons(finished).values())
