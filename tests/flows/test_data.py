import shutil

import pytest

from flows.data import ensure_data

pytestmark = pytest.mark.slow


def test_data_that_matches_data_dvc_is_accepted(project):
    ensure_data(project.root)


def test_changed_data_is_refused_and_not_touched(project):
    (project.root / "data" / "annotations.jsonl").write_text("changed")
    done = project.command("flows", "data")
    assert done.returncode == 2
    assert "dvc add data" in done.stderr
    assert "Traceback" not in done.stderr
    assert (project.root / "data" / "annotations.jsonl").read_text() == "changed"


def test_a_missing_folder_is_restored_from_the_cache(project):
    shutil.rmtree(project.root / "data")
    ensure_data(project.root)
    assert (project.root / "data" / "annotations.jsonl").read_text() == "{}\n"


def test_rendered_data_is_added_to_the_cache(project):
    shutil.rmtree(project.root / ".dvc" / "cache")
    pointer = (project.root / "data.dvc").read_bytes()
    ensure_data(project.root)
    assert project.dvc("status", "--json", "data.dvc").strip() == "{}"
    assert (project.root / "data.dvc").read_bytes() == pointer


def test_a_missing_dataset_is_rendered_and_checked_against_data_dvc(project):
    """The sample's bytes follow from params.yaml, so two pairs of clips name one dataset."""
    project.set_param("procedural_data", "pairs", 2)
    for part in ("shifted_pairs", "hard_train_pairs", "hard_test_pairs"):
        project.set_param("procedural_data", part, 0)
    shutil.rmtree(project.root / "data")
    assert project.command("cac", "data", "build").returncode == 0
    project.dvc("add", "--quiet", "data")
    shutil.rmtree(project.root / "data")
    shutil.rmtree(project.root / ".dvc" / "cache")
    ready = project.command("flows", "data")
    assert ready.returncode == 0, ready.stderr
    assert len(list((project.root / "data" / "clips").glob("*.mp4"))) == 4


def test_a_project_without_data_dvc_is_a_clear_error(project):
    (project.root / "data.dvc").unlink()
    done = project.command("flows", "data")
    assert done.returncode == 2
    assert "data.dvc" in done.stderr
