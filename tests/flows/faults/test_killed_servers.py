"""`kill -9` of each server while something is being done with it."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from faulty_stack import FaultyStack, measured
from retrain_project import ROOT, STAGES, TEST_CLIPS
from running_stack import wait_for

from infra.stack.web import ask

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600)]
_STEPS = 14
_BALLAST = 192 << 20
SERVERS = {
    "mlflow": ("mlflow", "server"),
    "postgres": ("postgres", "-D"),
    "s3": ("rclone",),
    "prefect": ("prefect", "server"),
}


@pytest.fixture
def training(tmp_path: Path, small_dataset: Path) -> Path:
    """A folder in which the first stage trains for so many steps, with a checkpoint at every fourth."""
    shutil.copytree(small_dataset, tmp_path / "data")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["single_frame_sft"] |= {"steps": _STEPS, "batch_size": 2, "save_every": 4, "log_every": 1}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


def _train(folder: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    command = (sys.executable, "-m", "cac.cli", "train", "single_frame_sft")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=folder, env=env, text=True, **pipes)


def _read_until(process: subprocess.Popen[str], words: str) -> list[str]:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if words in line:
            return seen
    pytest.fail("".join(seen))


@pytest.mark.parametrize("server", ["mlflow", "postgres"])
def test_training_goes_on_when_its_log_is_killed(faulty: FaultyStack, training: Path, server: str) -> None:
    process = _train(training, dict(faulty.running.environment))
    seen = _read_until(process, f" 3/{_STEPS}")
    faulty.running.service(*SERVERS[server]).kill()
    with measured(f"{server} killed while training logs: until the next step is logged"):
        seen += _read_until(process, f" 5/{_STEPS}")
    rest, _ = process.communicate()
    assert process.returncode == 0, "".join(seen) + rest
    run = _runs(faulty)[0]
    assert run["info"]["status"] == "FINISHED"
    assert _losses(faulty, run["info"]["run_id"]) == list(range(1, _STEPS + 1))
    assert (training / "models" / "single_frame_sft").is_dir()


def _runs(faulty: FaultyStack) -> list[dict]:
    port = faulty.running.stack.settings.mlflow_port
    found = ask(port, "/api/2.0/mlflow/experiments/get-by-name?experiment_name=cac")
    body = {"experiment_ids": [found["experiment"]["experiment_id"]], "filter": "tags.stage = 'single_frame_sft'"}
    return ask(port, "/api/2.0/mlflow/runs/search", body)["runs"]


def _losses(faulty: FaultyStack, run: str) -> list[int]:
    path = f"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=loss"
    return [each["step"] for each in ask(faulty.running.stack.settings.mlflow_port, path)["metrics"]]


def test_training_without_its_log_ends_and_goes_on_later(faulty: FaultyStack, training: Path) -> None:
    """The server stays away for longer than its client waits, here four tries."""
    env = faulty.running.environment | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"}
    process = _train(training, env)
    _read_until(process, f" 6/{_STEPS}")
    _suspended(faulty, "mlflow")
    out, _ = process.communicate()
    faulty.running.supervisor().resume()
    faulty.wait_until_ready()
    assert process.returncode == 2, out
    assert "MLflow's server at 127.0.0.1" in out.splitlines()[-1]
    assert "Traceback" not in out
    with measured("MLflow away for long: the stage run again, from its checkpoint"):
        process = _train(training, dict(faulty.running.environment))
        seen = _read_until(process, "going on at step 4")
        rest, _ = process.communicate()
    assert process.returncode == 0, "".join(seen) + rest
    assert [run["info"]["status"] for run in _runs(faulty)[:2]] == ["FINISHED", "KILLED"]


def _suspended(faulty: FaultyStack, server: str) -> None:
    """Kill a server and keep the supervisor from starting it again."""
    faulty.running.supervisor().suspend()
    faulty.running.service(*SERVERS[server]).kill()


def test_a_retraining_outlives_all_servers_killed_at_once(faulty: FaultyStack) -> None:
    faulty.change(seed=300)
    run = faulty.begin_hanging("two_turn_grpo")
    with measured("all four servers killed at once in a stage: until all are ready"):
        for words in SERVERS.values():
            faulty.running.service(*words).kill()
        wait_for(lambda: faulty.running.verb("status").returncode != 0, "a server to be missed", 30)
        faulty.wait_until_ready()
    faulty.release()
    done = faulty.end(run)
    assert done["name"] in ("Promoted", "Refused"), faulty.explain(run)
    faulty.check_nothing_is_half()


def test_s3_killed_in_a_push_loses_nothing(faulty: FaultyStack) -> None:
    (faulty.checkout.root / "data" / "ballast.bin").write_bytes(os.urandom(_BALLAST))
    faulty.checkout.commit_data(TEST_CLIPS)
    faulty.checkout.ran()
    run = faulty.begin()
    wait_for(lambda: bool(faulty.processes("dvc", "push")) or faulty.has_ended(run), "the push", 900)
    partial = faulty.running.stack.state / "s3"
    wait_for(lambda: any(partial.rglob(".rclone_temp_put*")) or faulty.has_ended(run), "an object on its way", 300)
    assert not faulty.has_ended(run), faulty.explain(run)
    with measured("S3 killed in a push, away for 20 s: until the retraining has ended"):
        _suspended(faulty, "s3")
        assert faulty.checkout.ran() == STAGES
        with pytest.raises(AssertionError, match="waited"):
            wait_for(lambda: faulty.has_ended(run), "20 s", 20)
        faulty.running.supervisor().resume()
        done = faulty.end(run)
    assert done["name"] in ("Promoted", "Refused"), faulty.explain(run)
    faulty.check_nothing_is_half()
    faulty.check_remote()
    assert _pulled(faulty) == hashlib.md5((faulty.checkout.root / "data" / "ballast.bin").read_bytes()).hexdigest()


def _pulled(faulty: FaultyStack) -> str:
    """Pull the data into a clone that has nothing but git's files, and return the ballast's hash."""
    clone = faulty.running.root / ".scratch" / "clone"
    faulty.checkout.git("clone", "--quiet", ".", str(clone))
    command = (sys.executable, "-m", "dvc", "pull", "--quiet", "data.dvc")
    done = subprocess.run(command, cwd=clone, env=faulty.checkout.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return hashlib.md5((clone / "data" / "ballast.bin").read_bytes()).hexdigest()
