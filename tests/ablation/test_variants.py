import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest
import yaml

from cac.ablation.variants import FULL, VARIANTS, variant_params
from cac.params import STAGE_SECTIONS, Params
from cac.paths import TRAINING_STAGES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_changes_exactly_its_settings(project_params: Params, name: str) -> None:
    plain, changed = variant_params(project_params, FULL, 3), variant_params(project_params, name, 3)
    for key, value in VARIANTS[name].settings.items():
        found: object = changed
        for part in key.split("."):
            found = getattr(found, part)
        assert found == value
    assert (changed == plain) is not bool(VARIANTS[name].settings)
    assert changed.compute.seed == 3
    assert VARIANTS[name].baseline in VARIANTS


STAGES = yaml.safe_load((ROOT / "ablations/dvc.yaml").read_text())["stages"]


def test_the_dvc_stage_runs_every_variant() -> None:
    assert STAGES["run"]["matrix"]["variant"] == list(VARIANTS)


def test_dependencies_and_parameters_of_the_dvc_stage_exist(project_params: Params) -> None:
    named = [dep for stage in STAGES.values() for dep in stage["deps"] if dep.startswith("../src/")]
    assert named
    assert [dep for dep in named if not (ROOT / "ablations" / dep).exists()] == []
    for key in STAGES["run"]["params"][0]["../params.yaml"]:
        reduce(getattr, key.split("."), project_params)


def test_the_dvc_stage_depends_on_all_sections_that_its_stages_read() -> None:
    read = {key.split(".")[0] for stage in (*TRAINING_STAGES, "evaluate") for key in STAGE_SECTIONS[stage]}
    named = {key.split(".")[0] for key in STAGES["run"]["params"][0]["../params.yaml"]}
    assert named == read


def test_runs_depend_on_files_and_not_on_folders() -> None:
    """The hash of a folder includes compiled Python files, so the lock would be invalid in every other clone."""
    named = [ROOT / "ablations" / dep for dep in STAGES["run"]["deps"] if dep.startswith("../src/")]
    assert all(path.is_file() for path in named)


def stages_seen_from(folder: Path) -> set[str]:
    command = (sys.executable, "-m", "dvc", "stage", "list", "--all", "--name-only")
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return {line.split(":")[-1] for line in answer.stdout.split()}


def test_the_pipeline_and_the_ablations_are_separate_dvc_projects() -> None:
    runs = {f"run@{variant}-{seed}" for variant in VARIANTS for seed in STAGES["run"]["matrix"]["seed"]}
    assert stages_seen_from(ROOT / "ablations") == {*runs, "table"}
    assert not stages_seen_from(ROOT) & {*runs, "table"}
