"""Checkpoints are resumed for the same inputs only, and none is lost to a change that is undone."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.adapters import changed_adapter
from safetensors.torch import load_file, save_file

from cac.errors import CacError
from cac.model.adapters import save_adapter
from cac.model.loading import base_identity, load_base
from cac.params import Model, Params
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


def _checkpoint(folder: Path, base: Path, params: Params) -> tuple[Any, Path]:
    """Return a model with a new adapter, and a complete checkpoint of it in the folder."""
    settings = params.model.model_copy(update={"base": str(base)})
    model = changed_adapter(load_base(settings)[0], params.adapter)
    save_adapter(model, folder / "checkpoint-4", base_identity(settings))
    (folder / "checkpoint-4/trainer_state.json").write_text("{}")
    return model, folder / "checkpoint-4"


def test_a_checkpoint_whose_adapter_lost_weights_is_not_resumed(
    fresh_base: Path, project_params: Params, tmp_path: Path
) -> None:
    """Transformers would only warn, and go on with a new adapter in place of the lost weights."""
    model, checkpoint = _checkpoint(tmp_path, fresh_base, project_params)
    resumed: list[Any] = []
    trainer = SimpleNamespace(model=model, train=lambda resume_from_checkpoint: resumed.append(resume_from_checkpoint))
    checkpoints.train(trainer, tmp_path)
    assert resumed == [str(checkpoint)]
    weights = load_file(checkpoint / "adapter_model.safetensors")
    save_file(dict(list(weights.items())[::2]), checkpoint / "adapter_model.safetensors")
    with pytest.raises(CacError, match=r"cannot resume\. .*weights are missing.* Delete .*checkpoint-4"):
        checkpoints.train(trainer, tmp_path)
    assert resumed == [str(checkpoint)]
