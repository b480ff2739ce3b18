"""The scheduled retraining through the real services: deployed, fired by an event, run by the worker, consumed.

Real stages on the nano, with as few steps and clips as there can be. Minutes, so only `make stack-test` runs it.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.running_stack import PROJECT, RunningStack, wait_for

from cac.params import MaxWorsening

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3600)]
_PATIENCE = 3000
_ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_SMALL: dict[str, dict[str, Any]] = {
    "procedural_data": {
        "pairs": 18,
        "shifted_pairs": 0,
        "hard_train_pairs": 0,
        "hard_test_pairs": 0,
        "min_frames": 16,
        "max_frames": 18,
        "val_ratio": 0.15,
        "test_ratio": 0.2,
    },
    "validation": {"min_clips_per_split": 1, "min_clips_per_family": 1},
    "single_frame_sft": {"max_steps": 1, "batch_size": 2},
    "multi_frame_sft": {"max_steps": 1, "batch_size": 2},
    "two_turn_grpo": {
        "max_steps": 1,
        "prompts_per_step": 2,
        "num_generations": 2,
        "batch_size": 4,
        "max_turn_tokens": 16,
    },
    "evaluation": {"max_turn_tokens": 16, "bootstrap_samples": 20, "report_clips": 1},
}
_OPEN_GATE = {
    "min_balanced_accuracy": 0.0,
    "min_specificity": 0.0,
    "min_parse_rate": 0.0,
    "max_expected_calibration_error": 1.0,
    "max_seconds_per_clip": 1e6,
    "max_worsening": dict.fromkeys(MaxWorsening.model_fields, 1.0),
    "max_family_accuracy_drop": 1.0,
}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningStack]:
    """A stack whose folder is a checkout of this project."""
    stack = RunningStack()
    try:
        _check_out(stack.root)
        stack.start()
        yield stack
    finally:
        stack.remove()


def _check_out(root: Path) -> None:
    """Copy what git tracks or would track, with settings that make a run small, and no results yet."""
    listed = subprocess.run(
        ("git", "ls-files", "--cached", "--others", "--exclude-standard"),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (PROJECT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, root / name)
    for name in ("dvc.lock", "data.dvc", "metrics/evaluation.json", "metrics/comparisons.json", "metrics/groups.json"):
        (root / name).unlink(missing_ok=True)
    params = yaml.safe_load((root / "params.yaml").read_text())
    for section, changes in _SMALL.items():
        params[section] |= changes
    params["two_turn_grpo"]["rejection_sampling"]["clips"] = 0
    params["registry"]["gate"] |= _OPEN_GATE
    _write_params(root, params)
    deployments = yaml.safe_load((root / "prefect.yaml").read_text())
    deployments["deployments"][0]["parameters"]["settings"]["veto_seconds"] = 0
    (root / "prefect.yaml").write_text(yaml.safe_dump(deployments))
    _run(root, dict(os.environ), "git", "init", "--quiet", "--initial-branch", "main")


def _write_params(root: Path, params: dict[str, Any]) -> None:
    (root / "params.yaml").write_text(yaml.safe_dump(params))


def _run(root: Path, env: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def _module(running: RunningStack, *command: str) -> str:
    return _run(running.root, running.environment | {"DVC_NO_ANALYTICS": "1"}, sys.executable, "-m", *command)


def _git(running: RunningStack, *command: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")
    return _run(running.root, running.environment, "git", *identity, *command)


def _commit_data_that_only_s3_has(running: RunningStack) -> str:
    """Return the commit; as the settings change after the rendering, the data cannot be rendered again."""
    _module(running, "cac", "data", "build")
    _module(running, "dvc", "remote", "add", "--default", "store", "s3://dvc/files")
    _module(running, "dvc", "add", "--quiet", "data")
    _module(running, "dvc", "push", "--quiet")
    params = yaml.safe_load((running.root / "params.yaml").read_text())
    params["procedural_data"]["pairs"] += 1
    _write_params(running.root, params)
    shutil.move(running.root / "data", running.root / ".scratch" / "clips")
    shutil.rmtree(running.root / ".dvc" / "cache")
    _git(running, "add", "--all")
    _git(running, "commit", "--quiet", "--message", "A small dataset")
    return _git(running, "rev-parse", "HEAD")


def test_new_data_in_the_registry_and_with_a_consumer(running: RunningStack, tmp_path: Path) -> None:
    commit = _commit_data_that_only_s3_has(running)
    _module(running, "prefect", "--no-prompt", "deploy", "--all")
    deployment = _prefect(running, "/deployments/name/retraining/scheduled")
    assert deployment["schedules"][0]["schedule"]["cron"] == "0 3 * * 1"
    assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"

    _emit(running, commit)
    [ended] = _ends(running, deployment["id"], 1)
    assert (ended["state_name"], ended["parameters"]["revision"]) == ("Promoted", commit), _logs(running)
    results = _git(running, "for-each-ref", "--format=%(objectname)", "refs/heads/retraining")
    assert _git(running, "rev-parse", f"{results}^") == commit
    assert _git(running, "status", "--porcelain") == ""
    assert not (running.root / ".retraining").exists()

    clip = next((running.root / ".scratch" / "clips" / "clips").glob("*.mp4"))
    [row] = _consume(running, clip, tmp_path)
    assert 0 <= row["score"] <= 1
    assert row["model_version"] == "1"


def test_two_at_once_and_nothing_new(running: RunningStack) -> None:
    deployment = _prefect(running, "/deployments/name/retraining/scheduled")["id"]
    before = len(_runs(running, deployment))
    for _ in range(2):
        _prefect(running, f"/deployments/{deployment}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    ended = _ends(running, deployment, before + 2)[before:]
    assert [run["state_name"] for run in ended] == ["NothingNew", "NothingNew"], _logs(running)
    refused = f"/deployments/{deployment}/create_flow_run"
    with pytest.raises(AssertionError, match="veto_seconds"):
        _prefect(running, refused, {"parameters": {"settings": {"veto_seconds": "soon"}}})


def test_the_schedule_fires(running: RunningStack) -> None:
    deployment = _prefect(running, "/deployments/name/retraining/scheduled")
    weekly = f"/deployments/{deployment['id']}/schedules/{deployment['schedules'][0]['id']}"
    wait_for(lambda: bool(_runs(running, deployment["id"], scheduled=True)), "the runs of the next Mondays")
    _prefect(running, weekly, {"schedule": {"cron": "* * * * *"}}, "PATCH")
    done = "NothingNew"
    wait_for(lambda: done in {run["state_name"] for run in _runs(running, deployment["id"], scheduled=True)}, done, 600)
    _prefect(running, weekly, {"active": False}, "PATCH")


def _emit(running: RunningStack, commit: str) -> None:
    program = (
        "import sys; from prefect.events import emit_event; from prefect.events.worker import EventsWorker;"
        "emit_event('cac.dataset.version-added', {'prefect.resource.id': 'cac.dataset'},"
        " payload={'branch': 'main', 'revision': sys.argv[1]}); EventsWorker.drain_all(timeout=60)"
    )
    _run(running.root, running.environment, sys.executable, "-c", program, commit)


def _consume(running: RunningStack, clip: Path, folder: Path) -> list[dict[str, Any]]:
    """Load the champion in a process that knows MLflow's address and nothing else of the stack."""
    program = (
        "import sys, mlflow; model = mlflow.pyfunc.load_model('models:/cac-reward-model@champion');"
        "print(model.predict(sys.argv[1:]).to_json(orient='records'))"
    )
    known = {name: value for name, value in running.environment.items() if not name.startswith(("AWS_", "PREFECT_"))}
    return json.loads(_run(folder, known, sys.executable, "-c", program, str(clip)).splitlines()[-1])


def _ends(running: RunningStack, deployment: str, count: int) -> list[dict[str, Any]]:
    """Wait until so many runs have ended, and return them, first created first."""

    def ended() -> list[dict[str, Any]]:
        return [run for run in _runs(running, deployment) if run["state_type"] in _ENDED]

    wait_for(lambda: len(ended()) >= count, f"{count} runs", _PATIENCE)
    return ended()


def _runs(running: RunningStack, deployment: str, scheduled: bool = False) -> list[dict[str, Any]]:
    """Return the runs that were asked for, or those of the schedule, also in the future."""
    runs = _prefect(running, "/flow_runs/filter", {"flow_runs": {"deployment_id": {"any_": [deployment]}}})
    return sorted((run for run in runs if run["auto_scheduled"] == scheduled), key=lambda run: run["created"])


def _logs(running: RunningStack) -> str:
    lines = _prefect(running, "/logs/filter", {"sort": "TIMESTAMP_ASC", "limit": 200})
    return "\n".join(line["message"] for line in lines)


def _prefect(running: RunningStack, path: str, body: object = None, method: str = "POST") -> Any:
    """Ask Prefect's API and return its answer."""
    import httpx

    auth = ("cac", running.stack.settings.prefect_password)
    url = f"{running.stack.prefect_url}/api{path}"
    answer = httpx.request(method if body is not None else "GET", url, json=body, auth=auth, timeout=60)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None
