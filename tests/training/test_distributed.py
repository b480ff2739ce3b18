"""Two processes that talk through gloo, started as a user does, against one process with the same batches."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from helpers import in_processes
from safetensors.torch import load_file

from cac.cli import main as cli
from cac.errors import CacError
from cac.io import distributed
from cac.params import Params
from cac.training import two_turn_grpo

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "conf" / "accelerate" / "cpu-gloo.yaml"
STAGES = ("single_frame_sft", "multi_frame_sft", "two_turn_grpo")


@pytest.fixture(scope="module")
def settings(project_params: Params, fresh_base: Path) -> dict:
    """The project's settings, cut down. A batch begins with its anomalous samples: one process gets them all."""
    values = project_params.model_dump(mode="json")
    sft = {"max_steps": 2, "batch_size": 4, "gradient_accumulation_steps": 2, "save_steps": 2, "logging_steps": 1}
    changes = {
        "compute": {"threads": 1},
        "model": {"base": str(fresh_base)},
        "frames": {"coarse_count": 3, "coarse_size": 32, "dense_count": 2, "dense_size": 32},
        "adapter": {"r": 8},
        "single_frame_sft": {**sft, "train_vision": True},
        "multi_frame_sft": {**sft, "train_vision": True, "single_frame_ratio": 0.3},
        "two_turn_grpo": {
            "max_steps": 2,
            "prompts_per_step": 4,
            "num_generations": 2,
            "batch_size": 4,
            "save_steps": 2,
        },
    }
    for section, change in changes.items():
        values[section] |= change
    values["two_turn_grpo"]["rejection_sampling"] |= {
        "clips": 24, "scans": 6, "tries": 2, "looks": 6, "rollouts_at_once": 36,
        "batch_size": 2, "num_train_epochs": 1, "logging_steps": 1,
    }  # fmt: skip
    return values


def write_project(root: Path, dataset: Path, settings: dict, accelerate: Path | None) -> Path:
    root.mkdir()
    (root / "data").symlink_to(dataset)
    values = {**settings, "compute": {**settings["compute"], "accelerate": accelerate and str(accelerate)}}
    (root / "params.yaml").write_text(yaml.safe_dump(values))
    return root


@pytest.fixture(scope="module")
def alone(tmp_path_factory, small_dataset: Path, settings: dict) -> Path:
    """A project whose stages one process has trained."""
    root = write_project(tmp_path_factory.mktemp("alone") / "root", small_dataset, settings, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
        assert cli.main(["train", "single_frame_sft"]) == 0
        in_processes.train(root)
    return root


@pytest.fixture(scope="module")
def together(tmp_path_factory, small_dataset: Path, settings: dict, alone: Path) -> Path:
    """The same in two processes; stage 2 starts from the adapter of the other project, so that errors do not add up."""
    root = write_project(tmp_path_factory.mktemp("together") / "root", small_dataset, settings, CONFIG)
    run(root, "-m", "cac", "train", "single_frame_sft")
    shutil.move(root / "models" / "single_frame_sft", root / "models" / "of_two")
    shutil.copytree(alone / "models" / "single_frame_sft", root / "models" / "single_frame_sft")
    script = Path(in_processes.__file__)
    run(root, "-m", "accelerate.commands.launch", "--config_file", str(CONFIG), str(script))
    return root


def run(root: Path, *arguments: str) -> None:
    store, helpers = f"sqlite:///{root}/mlflow.db", str(Path(__file__).parents[1])
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store, "OMP_NUM_THREADS": "1", "PYTHONPATH": helpers}
    done = subprocess.run([sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def history(root: Path, stage: str) -> list[dict[str, float]]:
    return json.loads((root / "metrics" / f"{stage}.json").read_text())


@pytest.mark.parametrize("stage", [*STAGES, "rejection_sampling"])
def test_two_processes_have_the_losses_of_one(alone: Path, together: Path, stage: str) -> None:
    one, two = history(alone, stage), history(together, stage)
    assert len(one) == len(two) > 0
    for mine, theirs in zip(one, two, strict=True):
        for name in {"loss", "grad_norm", "mean_token_accuracy", "reward"} & mine.keys():
            assert theirs[name] == pytest.approx(mine[name], rel=1e-4, abs=1e-5), (stage, mine["step"], name)


def test_scripted_rollouts_are_rewarded(alone: Path) -> None:
    """Else the comparison above would hold of stage 3 for no reason."""
    assert any(row["reward"] != 0 and row["grad_norm"] > 0 for row in history(alone, "two_turn_grpo"))


def test_one_process_of_them_records_and_writes(together: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{together}/mlflow.db")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert sorted(run.data.tags["stage"] for run in runs) == sorted(STAGES)
    assert {(run.info.status, run.data.tags["processes"]) for run in runs} == {("FINISHED", "2")}
    assert not list((together / ".scratch" / "checkpoints").iterdir())


def test_an_adapter_of_two_processes_is_like_that_of_one(alone: Path, together: Path) -> None:
    one, two = (
        load_file(folder / "adapter_model.safetensors")
        for folder in (alone / "models" / "single_frame_sft", together / "models" / "of_two")
    )
    assert one.keys() == two.keys()
    far = torch.cat([(one[name] - two[name]).abs().flatten() for name in one])
    # Adam moves a weight without a gradient by its rate all the same, this way or that by the last bits.
    assert (far < 1e-4).float().mean() > 0.999


def test_a_batch_that_cannot_be_shared_is_named(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(CacError, match=r"single_frame_sft\.batch_size is 8, which 3 processes cannot share evenly"):
        distributed.per_process_batch_size(8, "single_frame_sft.batch_size")


def test_a_config_that_is_not_there_is_named(
    tmp_path, monkeypatch, capsys, small_dataset: Path, settings: dict
) -> None:
    root = write_project(tmp_path / "root", small_dataset, settings, tmp_path / "no.yaml")
    monkeypatch.chdir(root)
    assert cli.main(["train", "single_frame_sft"]) == 2
    assert "compute.accelerate: no file at" in capsys.readouterr().err


def test_stage_three_refuses_a_divided_model(monkeypatch, tmp_path, project_params: Params) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(CacError, match="needs the whole model in every process"):
        two_turn_grpo.train(project_params, tmp_path)
