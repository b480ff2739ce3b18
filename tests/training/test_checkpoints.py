"""Checkpoints are resumed for the same inputs only, and none is lost to a change that is undone."""

from dataclasses import replace
from pathlib import Path

import pytest

from cac.params import Model
from cac.training import checkpoints
from cac.training.checkpoints import CheckpointKey, checkpoint_key, last_checkpoint, prepare_folder

KEY = CheckpointKey("code", "settings", "inputs", "base", 1)
OTHER = replace(KEY, settings="other")


def with_checkpoint(folder: Path, step: int, state: str = "{}") -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir()
    (checkpoint / "trainer_state.json").write_text(state)
    return checkpoint


def test_the_newest_complete_checkpoint_of_the_same_key_is_resumed(tmp_path: Path) -> None:
    complete = with_checkpoint(prepare_folder(tmp_path, "stage", KEY), 2)
    with_checkpoint(complete.parent, 4, state='{"cut')
    assert last_checkpoint(prepare_folder(tmp_path, "stage", KEY)) == str(complete)


def test_checkpoints_of_another_key_are_set_aside_and_found_again(tmp_path: Path, capsys) -> None:
    folder = prepare_folder(tmp_path, "stage", KEY)
    with_checkpoint(folder, 2)
    assert last_checkpoint(prepare_folder(tmp_path, "stage", OTHER)) is None
    aside = folder.with_name(f"stage.{KEY.digest[:8]}")
    assert f"settings changed since its checkpoints. They are kept in {aside}" in capsys.readouterr().out
    with_checkpoint(folder, 3)
    assert last_checkpoint(prepare_folder(tmp_path, "stage", KEY)) == str(folder / "checkpoint-2")
    assert last_checkpoint(prepare_folder(tmp_path, "stage", OTHER)) == str(folder / "checkpoint-3")


def test_checkpoints_without_a_readable_key_are_kept_and_not_resumed(tmp_path: Path, capsys) -> None:
    folder = prepare_folder(tmp_path, "stage", KEY)
    with_checkpoint(folder, 2)
    (folder / checkpoints.KEY_FILE).write_text("")  # the disk was full
    assert last_checkpoint(prepare_folder(tmp_path, "stage", KEY)) is None
    assert last_checkpoint(folder.with_name("stage.unknown")) is not None
    assert "checkpoint_key.json of its checkpoints cannot be read. They are kept in" in capsys.readouterr().out


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text("stages: {short: {deps: [data, src/cac/errors.py]}}")
    (tmp_path / "input").write_text("input")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(name)
    return tmp_path


def key_of(project: Path, *, stage: str = "short", base: str = "one") -> CheckpointKey:
    model = Model(base=str(project / base), revision=None, dtype="float32")
    return checkpoint_key({"a": 1}, [project / "input"], model, project, stage)


def test_an_edit_elsewhere_keeps_the_key(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "errors.py").write_text("1")
    (package / "other.py").write_text("1")
    monkeypatch.setattr(checkpoints, "_PACKAGE", package)
    short, whole = key_of(project), key_of(project, stage="unknown to dvc.yaml")
    (package / "other.py").write_text("2")
    assert key_of(project) == short
    assert key_of(project, stage="unknown to dvc.yaml") != whole
    (package / "errors.py").write_text("2")
    assert key_of(project) == replace(short, code=key_of(project).code) != short


def test_inputs_base_and_processes_are_part_of_the_key(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_of(project)
    assert key_of(project, base="two").base != key.base
    (project / "one" / "model.safetensors").write_text("six")  # of the same length
    assert key_of(project).base != key.base
    (project / "input").write_text("other")
    assert key_of(project).inputs != key.inputs
    monkeypatch.setattr(checkpoints, "world_size", lambda: 2)
    assert key_of(project).processes == 2


@pytest.mark.parametrize("dependencies", ["[data]", "[src/cac/errors.py, src/cac/of_another_version.py]"])
def test_a_stage_whose_modules_are_not_named_depends_on_the_whole_package(project: Path, dependencies: str) -> None:
    whole = key_of(project, stage="unknown to dvc.yaml")
    (project / "dvc.yaml").write_text(f"stages: {{short: {{deps: {dependencies}}}}}")
    assert key_of(project) == whole
