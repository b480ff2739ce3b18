"""The real services: used, killed, started again, stopped. Minutes, so only `make stack-test` runs it.

The tests go from gentle to rough and share one stack; each leaves it running.
"""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from helpers.running_stack import RunningStack, command_line, wait_for

from infra.stack.local_stack import WORK_POOL
from infra.stack.postgres import server_address
from infra.stack.provision import s3_client
from infra.stack.web import request_json

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]
_LARGE = 24 << 20  # more than one part of a multipart upload


@pytest.fixture(scope="module")
def running() -> Iterator[RunningStack]:
    stack = RunningStack()
    try:
        out = stack.start()
        assert all(name in out for name in ("postgres", "s3", "mlflow", "prefect", "worker"))
        yield stack
    finally:
        stack.remove()


def test_sql_over_loopback_alone(running: RunningStack) -> None:
    import psycopg

    with psycopg.connect(server_address(running.stack)) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        databases = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        assert databases >= {"mlflow", "prefect"}
    assert running.service("postgres", "-D").uids().effective != 0
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(server_address(running.stack).replace(running.stack.settings.postgres_password, "guessed"))


def test_only_loopback_is_listened_on(running: RunningStack) -> None:
    own = {process.pid for process in running.processes()}
    connections = [each for each in psutil.net_connections(kind="inet") if each.pid in own]
    listening = {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_an_artifact_goes_through_mlflow_into_s3_and_back(running: RunningStack, tmp_path: Path) -> None:
    source = tmp_path / "weights.bin"
    source.write_bytes(os.urandom(_LARGE))
    program = (
        "import mlflow, sys; mlflow.set_experiment('by-hand');"
        "run = mlflow.start_run(); mlflow.log_artifact(sys.argv[1]); mlflow.end_run();"
        "print(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, dst_path=sys.argv[2]), run.info.run_id)"
    )
    keyless = {name: value for name, value in running.environment.items() if not name.startswith("AWS_")}
    done = _python(program, str(source), str(tmp_path / "back"), env=keyless)
    run_id = done.split()[-1]
    assert (tmp_path / "back" / "weights.bin").read_bytes() == source.read_bytes()
    keys = {each["Key"] for each in _s3(running).list_objects_v2(Bucket="mlflow")["Contents"]}
    assert any(run_id in key and key.endswith("weights.bin") for key in keys)


@pytest.mark.parametrize("host", ["evil.example", "mlflow", "127.0.0.1:1", "localhost"])
def test_mlflow_answers_only_to_its_own_name(running: RunningStack, host: str) -> None:
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", running.stack.settings.mlflow_port, timeout=30)
    path = "/api/2.0/mlflow/experiments/search?max_results=1"
    connection.request("GET", path, headers={"Host": host})
    assert connection.getresponse().status == 403
    connection.close()


def test_s3_refuses_other_keys(running: RunningStack) -> None:
    from botocore.exceptions import ClientError

    wrong = running.stack.s3_environment() | {"AWS_SECRET_ACCESS_KEY": "guessed"}
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        s3_client(wrong).list_buckets()


def test_dvc_pushes_and_pulls_by_the_environment(running: RunningStack, tmp_path: Path) -> None:
    subprocess.run(("git", "init", "--quiet"), cwd=tmp_path, check=True)
    for command in ("init --quiet", "remote add --default store s3://dvc/files"):
        _dvc(running, tmp_path, command)
    data = tmp_path / "clip.bin"
    data.write_bytes(os.urandom(_LARGE))
    content = data.read_bytes()
    _dvc(running, tmp_path, "add --quiet clip.bin")
    _dvc(running, tmp_path, "push --quiet")
    data.unlink()
    subprocess.run(("rm", "-rf", ".dvc/cache"), cwd=tmp_path, check=True)
    _dvc(running, tmp_path, "pull --quiet")
    assert data.read_bytes() == content


def test_prefect_asks_for_the_password(running: RunningStack) -> None:
    port = running.stack.settings.prefect_port
    assert request_json(port, "/api/work_pools/filter", {}) is None
    assert request_json(port, "/api/work_pools/filter", {}, "guessed") is None


def test_the_worker_runs_a_deployment_that_logs_to_mlflow(running: RunningStack) -> None:
    run = _create_run(running, "train", {"text": "hello"})
    wait_for(lambda: _state(running, run) not in ("SCHEDULED", "PENDING", "RUNNING"), "the flow run")
    assert _state(running, run) == "COMPLETED", running.said()
    body = {"experiment_ids": [_experiment(running, "from-the-worker")], "max_results": 5}
    runs = request_json(running.stack.settings.mlflow_port, "/api/2.0/mlflow/runs/search", body)["runs"]
    assert [each["info"]["status"] for each in runs] == ["FINISHED"]


def test_settings_are_applied_once(running: RunningStack) -> None:
    again = subprocess.run(
        (sys.executable, "-m", "infra.automations"),
        env=running.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert again.stdout == "nothing to change\n", again.stdout + again.stderr


def test_secrets_are_in_no_command_line_no_log_and_no_data(running: RunningStack) -> None:
    dumped = running.stack.settings.model_dump()
    secrets = [value for name, value in dumped.items() if name.endswith(("password", "key"))]
    assert len(secrets) == 6
    commands = [command_line(process) for process in psutil.process_iter()]
    text = "\n".join((*commands, running.said()))
    assert not [secret for secret in secrets if secret in text]
    kept = list(_contents(running.stack.state))
    assert len(kept) > 100
    assert not [secret for secret in secrets for content in kept if secret.encode() in content]
    assert stat.S_IMODE((running.root / "infra" / ".env").stat().st_mode) == 0o600


def _contents(folder: Path) -> Iterator[bytes]:
    """What is in the folder's files, those left out that go while they are looked at."""
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError, IsADirectoryError):
            yield path.read_bytes()


def test_a_second_start_leaves_the_first_alone(running: RunningStack) -> None:
    before = running.supervisor().pid
    assert "already" in running.start()
    assert running.supervisor().pid == before


@pytest.mark.parametrize("words", [("mlflow", "server"), ("rclone",), ("postgres", "-D"), ("prefect", "server")])
def test_a_killed_service_comes_back(running: RunningStack, words: tuple[str, ...]) -> None:
    killed = running.service(*words)
    killed.kill()
    wait_for(lambda: _is_new(running, killed, words), "the supervisor to notice")
    wait_for(lambda: running.verb("status").returncode == 0, "all services")
    assert _experiment(running, "by-hand")


def test_a_run_whose_worker_and_process_are_gone_is_called_crashed(running: RunningStack) -> None:
    from infra.automations import zombie_automation

    run, process = _hang(running, {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"})
    wanted = zombie_automation(timedelta(seconds=40)).model_dump(mode="json") | {"name": "soon"}
    assert _prefect(running, "/automations/", wanted)
    wait_for(lambda: _heartbeats(running, run) > 1, "a second heartbeat")
    for each in (running.service("worker"), process):
        each.kill()
    wait_for(lambda: _state(running, run) == "CRASHED", "the automation")


def test_nothing_outlives_a_killed_supervisor(running: RunningStack) -> None:
    _hang(running)
    assert len(running.processes()) > 10
    running.supervisor().kill()
    wait_for(lambda: not running.processes(), "the guard")


def test_it_starts_again_after_a_kill_and_remembers(running: RunningStack) -> None:
    running.start()
    assert _experiment(running, "by-hand")
    guard = running.service("infra.stack.guard")
    guard.kill()
    running.supervisor().kill()
    assert running.processes(), "this time nobody was there to clean up"
    assert "of a stack that was killed" in running.start()


def test_stop_ends_everything(running: RunningStack) -> None:
    _hang(running)
    assert running.verb("stop").stdout == "The stack is stopped.\n"
    assert not running.processes()
    assert running.verb("stop").stdout == "The stack was not running.\n"
    assert running.verb("status").returncode == 1


def test_ctrl_c_ends_everything(running: RunningStack) -> None:
    command = (sys.executable, "-m", "infra.stack", "--root", str(running.root), "run")
    process = subprocess.Popen(command, env=running.environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any(line.strip() == "The stack is up." for line in process.stdout)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 0
    assert not running.processes()


def _python(program: str, *arguments: str, env: dict[str, str]) -> str:
    command = (sys.executable, "-c", program, *arguments)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _dvc(running: RunningStack, folder: Path, command: str) -> None:
    environment = running.environment | {"DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        (sys.executable, "-m", "dvc", *command.split()), cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _s3(running: RunningStack):
    return s3_client(running.stack.s3_environment())


def _prefect(running: RunningStack, path: str, body: object = None):
    """Ask Prefect's API and return its answer."""
    import httpx

    settings = running.stack.settings
    url = f"{running.stack.prefect_url}/api{path}"
    answer = httpx.request(
        "POST" if body is not None else "GET", url, json=body, auth=("cac", settings.prefect_password)
    )
    assert answer.is_success, answer.text
    return answer.json()


def _create_run(running: RunningStack, flow: str, parameters: dict, env: dict[str, str] | None = None) -> str:
    flow_id = _prefect(running, "/flows/", {"name": flow})["id"]
    deployment = {
        "name": "test",
        "flow_id": flow_id,
        "entrypoint": f"steps.py:{flow}",
        "path": str(running.root),
        "work_pool_name": WORK_POOL,
        "job_variables": {"env": env or {}},
    }
    deployment_id = _prefect(running, "/deployments/", deployment)["id"]
    body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
    return _prefect(running, f"/deployments/{deployment_id}/create_flow_run", body)["id"]


def _hang(running: RunningStack, env: dict[str, str] | None = None) -> tuple[str, psutil.Process]:
    """Return a flow run that hangs, and its process."""
    note = running.root / "hanging"
    note.unlink(missing_ok=True)
    run = _create_run(running, "hang", {"note": str(note)}, env)
    wait_for(lambda: note.exists() and note.read_text() != "", "the flow")
    return run, psutil.Process(int(note.read_text()))


def _state(running: RunningStack, run: str) -> str:
    return _prefect(running, f"/flow_runs/{run}")["state_type"]


def _heartbeats(running: RunningStack, run: str) -> int:
    resource = {"id": [f"prefect.flow-run.{run}"]}
    body = {"filter": {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": resource}}
    return _prefect(running, "/events/filter", body)["total"]


def _experiment(running: RunningStack, name: str) -> str:
    port = running.stack.settings.mlflow_port
    found = request_json(port, f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={name}")
    assert found, json.dumps(found)
    return found["experiment"]["experiment_id"]


def _is_new(running: RunningStack, killed: psutil.Process, words: tuple[str, ...]) -> bool:
    try:
        return running.service(*words).pid != killed.pid
    except StopIteration:
        return False
