"""Overlays: written into the settings with their comments kept, checked as they are, and seen by DVC."""

import shutil
from pathlib import Path

import pytest

from cac.cli import main as cli
from cac.errors import CacError
from cac.params import load_params
from cac.params_overlay import Change, apply_overlay

ROOT = Path(__file__).parents[1]
OVERLAYS = sorted((ROOT / "conf").glob("*.yaml"))


@pytest.fixture
def params_file(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml"))


def overlay(folder: Path, text: str) -> Path:
    (folder / "overlay.yaml").write_text(text)
    return folder / "overlay.yaml"


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_the_projects_overlays_give_valid_settings(params_file: Path, path: Path) -> None:
    apply_overlay(params_file, path)
    params = load_params(params_file)
    assert params.model.base.startswith(("nano", "Qwen/Qwen3-VL-"))
    assert params.compute.accelerate is None or (ROOT / params.compute.accelerate).is_file()


def test_what_is_changed_is_told_and_the_rest_stays_to_the_byte(params_file: Path) -> None:
    rate = load_params(params_file).two_turn_grpo.learning_rate
    before = params_file.read_text()
    changes = apply_overlay(params_file, overlay(params_file.parent, "two_turn_grpo:\n  learning_rate: 0.00001\n"))
    assert changes == [Change("two_turn_grpo.learning_rate", rate, 0.00001)]
    start = before.index("two_turn_grpo:")
    expected = before[:start] + before[start:].replace(f"learning_rate: {rate}\n", "learning_rate: 0.00001\n")
    assert params_file.read_text() == expected


def test_the_same_again_changes_nothing(params_file: Path) -> None:
    path = overlay(params_file.parent, "compute: {seed: 8}")
    assert apply_overlay(params_file, path)
    written = params_file.stat().st_mtime_ns
    assert apply_overlay(params_file, path) == []
    assert params_file.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("compute: {sed: 8}", "compute.sed: unknown key; allowed here: seed"),
        ("model: {bas: x}", "model.bas: unknown key"),
        ("multi_frame_sft: {max_steps: 0}", "multi_frame_sft.max_steps"),
        ("two_turn_grpo: {batch_size: 7}", "batch_size must divide"),
        ("compute: 7", "compute"),
        ("compute: {seed: 1, seed: 2}", "not valid YAML"),
        ("a: [", "not valid YAML"),
        ("", "has no settings"),
    ],
)
def test_a_mistake_is_named_and_nothing_changes(params_file: Path, text: str, message: str) -> None:
    before = params_file.read_bytes()
    with pytest.raises(CacError) as error:
        apply_overlay(params_file, overlay(params_file.parent, text))
    assert message in str(error.value)
    assert params_file.read_bytes() == before
    assert sorted(path.name for path in params_file.parent.iterdir()) == ["overlay.yaml", "params.yaml"]


def test_the_verb_shows_the_changes(params_file: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(params_file.parent)
    assert cli.main(["params", "apply", "nowhere.yaml"]) == 2
    assert "no overlay at nowhere.yaml" in capsys.readouterr().err
    overlay(params_file.parent, "model: {dtype: bfloat16}\nadapter: {lora_forward: separate}")
    assert cli.main(["params", "apply", "overlay.yaml"]) == 0
    assert "model.dtype: float32 -> bfloat16" in capsys.readouterr().out
