"""`kill -9` of each server while something is being done with it."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.faulty_stack import FaultyStack, measured
from helpers.retrain_project import STAGES, TEST_CLIPS
from helpers.running_stack import wait_for
from helpers.small_training import STEPS, finish, prepare, read_until, train

from infra.stack.web import request_json

pytestmark = [pytest.mark.fault, pytest.mark.timeout(3600)]
_BALLAST = 192 << 20
SERVERS = {
    "mlflow": ("mlflow", "server"),
    "postgres": ("postgres", "-D"),
    "s3": ("rclone",),
    "prefect": ("prefect", "server"),
}


@pytest.fixture
def folder(tmp_path: Path, small_dataset: Path) -> Path:
    prepare(tmp_path, small_dataset)
    return tmp_path


@pytest.mark.parametrize("server", ["mlflow", "postgres"])
def test_training_goes_on_when_its_log_is_killed(faulty: FaultyStack, folder: Path, server: str) -> None:
    process = train(folder, faulty.running.environment)
    seen = read_until(process, f" 3/{STEPS}")
    faulty.running.service(*SERVERS[server]).kill()
    with measured(f"{server} killed while training logs: until the next step is logged"):
        seen += read_until(process, f" 5/{STEPS}")
    finish(process, seen)
    run = _runs(faulty)[0]
    assert run["info"]["status"] == "FINISHED"
    assert _losses(faulty, run["info"]["run_id"]) == list(range(1, STEPS + 1))
    assert (folder / "models" / "single_frame_sft").is_dir()


def _runs(faulty: FaultyStack) -> list[dict]:
    port = faulty.running.stack.settings.mlflow_port
    found = request_json(port, "/api/2.0/mlflow/experiments/get-by-name?experiment_name=cac")
    body = {"experiment_ids": [found["experiment"]["experiment_id"]], "filter": "tags.stage = 'single_frame_sft'"}
    return request_json(port, "/api/2.0/mlflow/runs/search", body)["runs"]


def _losses(faulty: FaultyStack, run: str) -> list[int]:
    path = f"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=loss"
    return [each["step"] for each in request_json(faulty.running.stack.settings.mlflow_port, path)["metrics"]]


def test_training_without_its_log_ends_and_goes_on_later(faulty: FaultyStack, folder: Path) -> None:
    """The server stays away for longer than its client waits, here four tries."""
    process = train(folder, faulty.running.environment | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"})
    read_until(process, f" 6/{STEPS}")
    _suspended(faulty, "mlflow")
    out, _ = process.communicate()
    faulty.running.supervisor().resume()
    faulty.wait_until_ready()
    assert process.returncode == 2, out
    assert "MLflow's server at 127.0.0.1" in out.splitlines()[-1]
    assert "Traceback" not in out
    with measured("MLflow away for long: the stage run again, from its checkpoint"):
        said = finish(train(folder, faulty.running.environment))
    assert "resuming at step 4" in said
    assert [run["info"]["status"] for run in _runs(faulty)[:2]] == ["FINISHED", "KILLED"]


def _suspended(faulty: FaultyStack, server: str) -> None:
    """Kill a server with all its workers, and keep the supervisor from starting it again."""
    faulty.running.supervisor().suspend()
    process = faulty.running.service(*SERVERS[server])
    for each in (*process.children(recursive=True), process):
        each.kill()


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
    server = faulty.running.service(*SERVERS["s3"])
    before = server.io_counters().read_chars

    def arriving() -> bool:
        return server.io_counters().read_chars - before > _BALLAST // 4

    wait_for(lambda: arriving() or faulty.has_ended(run), "an object on its way", 300)
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
