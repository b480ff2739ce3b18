"""The downstream experiment's flow with a real store and a judge of random weights: mechanics, no skill."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.adapters import save_changed_adapter
from helpers.rl_store import NAME, register_package

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OPTIONS = {
    "seeds": 1, "seeds-without": 1, "updates": 1, "prompts": 1, "group": 2, "evaluated": 2, "candidates": 2,
    "reference-clips": 3,
}  # fmt: skip
ARGUMENTS = [text for name, value in OPTIONS.items() for text in (f"--{name}", str(value))]


@pytest.fixture
def registered(tmp_path: Path, store_of, fresh_base: Path, project_params) -> Path:
    """A folder with settings and a store whose champion is the fresh base."""
    from cac.model.calibration import Calibration
    from cac.model.loading import base_identity, load_base
    from cac.model.package import PackageSettings, write_package
    from cac.params import Model
    from cac.registry.versions import COMPLETE
    from cac.tracking.mlflow_runs import connect

    base = Model(base=str(fresh_base), revision=None, dtype="float32")
    adapter = project_params.adapter.model_copy(update={"r": 2})
    save_changed_adapter(load_base(base)[0], adapter, tmp_path / "adapter", base_identity(base))
    frames = project_params.frames.model_copy(update={"looks": 1, "coarse_count": 1, "dense_count": 1})
    packed = PackageSettings(base, frames, Calibration(), 4)
    write_package(tmp_path / "package", tmp_path / "adapter", packed)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    store_of(tmp_path)
    client = connect()
    register_package(client, tmp_path / "package", COMPLETE)
    client.set_registered_model_alias(NAME, "champion", "1")
    return tmp_path


def test_the_flow_makes_runs_a_table_and_pictures_and_makes_nothing_twice(registered: Path, environment):
    def run() -> str:
        command = (sys.executable, "-m", "flows", "improve", *ARGUMENTS)
        done = subprocess.run(command, cwd=registered, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    said = run()
    assert "models:/cac-reward-model/1" in said, "the champion's number"
    assert "no_motion-0: update 1" in said
    folder = registered / "reports" / "downstream"
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert sorted(files) == [
        "clips.png", "curves.png", "runs/motion-0.json", "runs/motion-0.safetensors", "runs/no_motion-0.json",
        "runs/no_motion-0.safetensors", "summary.json", "table.md",
    ]  # fmt: skip
    said = run()
    assert "motion-0: already finished" in said
    assert ": update" not in said
    assert all((folder / name).read_bytes() == content for name, content in files.items())
