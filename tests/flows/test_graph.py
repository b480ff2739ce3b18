"""dvc.yaml: the graph, and that what it says a stage depends on is what the stage imports and reads."""

import json
from functools import reduce
from pathlib import Path

import pytest
import yaml

from cac.params import STAGE_SECTIONS, load_params
from cac.paths import STAGES as FLOW_STAGES
from scripts.stage_dependencies import ENTRY_POINTS, stale_files, with_dependencies

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = GRAPH["stages"]


def test_stages_are_those_the_flow_runs():
    assert tuple(STAGES) == FLOW_STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_params_named_exist(stage):
    params = load_params(ROOT / "params.yaml")
    for key in STAGES[stage]["params"]:
        reduce(getattr, key.split("."), params)


@pytest.mark.parametrize("stage", ["single_frame_sft", "multi_frame_sft", "two_turn_grpo"])
def test_a_training_stage_reads_no_other_stages_settings(stage):
    others = {"single_frame_sft", "multi_frame_sft", "two_turn_grpo"} - {stage}
    assert stage in STAGES[stage]["params"]
    assert not others & set(STAGES[stage]["params"])


def test_stages_depend_on_the_modules_they_import():
    stale = [path.name for path, _ in stale_files()]
    assert not stale, f"run `python -m scripts.stage_dependencies`: {stale} do not name what the stages import"


@pytest.mark.parametrize(
    ("before", "after"),
    [("deps:\n", "deps:\n      - src/cac/cli/console.py\n"), ("      - src/cac/schema/taxonomy.py\n", "")],
)
def test_a_dependency_too_many_or_too_few_is_mended(before, after):
    text = (ROOT / "dvc.yaml").read_text()
    changed = text.replace(before, after)
    assert changed != text
    assert with_dependencies(changed, ENTRY_POINTS) == text


def test_every_stage_runs_once_in_order(finished):
    assert finished.ran() == list(STAGES)


@pytest.mark.parametrize(
    ("section", "key", "expected"),
    [
        ("two_turn_grpo", "temperature", ["two_turn_grpo", "evaluate"]),
        ("evaluation", "bootstrap_samples", ["evaluate"]),
        ("multi_frame_sft", "max_steps", ["multi_frame_sft", "two_turn_grpo", "evaluate"]),
    ],
)
def test_a_setting_reruns_only_what_follows_from_it(finished, section, key, expected):
    finished.ran()
    finished.set_param(section, key, 3)
    finished.dvc("repro")
    assert finished.ran() == expected


def test_a_registry_setting_reruns_nothing(finished):
    lock = (finished.root / "dvc.lock").read_bytes()
    finished.ran()
    finished.set_param("registry", "experiment", "another")
    finished.dvc("repro")
    assert finished.ran() == []
    assert (finished.root / "dvc.lock").read_bytes() == lock


def test_every_plot_can_be_drawn(finished):
    shown = json.loads(finished.dvc("plots", "show", "--json"))
    assert "errors" not in shown
    assert set(shown["data"]) == {name for plot in GRAPH["plots"] for name in plot}
    assert all(plots and plots[0]["content"]["data"]["values"] for plots in shown["data"].values())


@pytest.mark.parametrize("stage", STAGES)
def test_stages_depend_on_the_settings_they_read(stage):
    assert STAGES[stage]["params"] == list(STAGE_SECTIONS[stage])
