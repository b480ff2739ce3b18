"""The five services, in start order.

A service gets passwords through its environment, never on its command line, which every user of the machine can read.
"""

import os
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from cac.errors import CacError
from infra.stack.local_stack import DVC_BUCKET, HOST, MLFLOW_BUCKET, PREFECT_USER, WORK_POOL, Stack
from infra.stack.postgres import postgres
from infra.stack.provision import create_buckets, s3_client
from infra.stack.service import Service
from infra.stack.web import request_json

_MODULE = (sys.executable, "-m")
_WORKER = "local"
_SET_UP_SECONDS = 300
# Uvicorn kills a worker without a health check response for 5 s. On busy cores a worker needs longer to start.
_WORKER_SECONDS = 120


def start_groups(stack: Stack) -> tuple[tuple[Service, ...], ...]:
    """Return the services in groups; the services of a group start together once the previous group is ready.

    Raises:
        CacError: a program is not installed.
    """
    return (postgres(stack), s3(stack)), (mlflow(stack), prefect(stack)), (worker(stack),)


def s3(stack: Stack) -> Service:
    """Return the S3 server: rclone over a folder, in which each subfolder is a bucket."""
    settings, folder = stack.settings, stack.state / "s3"
    keys = f'"{settings.s3_access_key},{settings.s3_secret_key}"'
    return Service(
        name="s3",
        address=stack.s3_url,
        port=settings.s3_port,
        command=(
            _rclone(),
            "serve",
            "s3",
            "--config",
            "",
            "--addr",
            f"{HOST}:{settings.s3_port}",
            str(folder),
        ),
        environment=stack.service_environment() | {"RCLONE_AUTH_KEY": keys},
        is_ready=lambda since: _s3_is_ready(stack),
        prepare=lambda: folder.mkdir(mode=0o700, exist_ok=True),
        set_up=lambda: create_buckets(s3_client(stack.s3_environment()), (MLFLOW_BUCKET, DVC_BUCKET)),
    )


def mlflow(stack: Stack) -> Service:
    """Return the MLflow server: runs and models in PostgreSQL, artifacts in S3, which it proxies."""
    port = stack.settings.mlflow_port
    hosts = [f"{host}:{port}" for host in (HOST, "localhost")]
    environment = {
        "MLFLOW_BACKEND_STORE_URI": stack.database("mlflow", stack.settings.mlflow_db_password, "psycopg"),
        "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{MLFLOW_BUCKET}",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job runners are for evaluating traces
    }
    return Service(
        name="mlflow",
        address=stack.mlflow_url,
        port=port,
        command=(
            *(*_MODULE, "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "2"),
            *("--allowed-hosts", ",".join(hosts)),
            *("--cors-allowed-origins", ",".join(f"http://{host}" for host in hosts)),
            *("--uvicorn-opts", f"--timeout-worker-healthcheck {_WORKER_SECONDS}"),
        ),
        environment=stack.service_environment() | stack.s3_environment() | environment,
        is_ready=lambda since: request_json(port, "/api/2.0/mlflow/experiments/search", {"max_results": 1}) is not None,
    )


def prefect(stack: Stack) -> Service:
    """Return the Prefect server with a password; `set_up` applies our work pools, limits and automations."""
    settings, port = stack.settings, stack.settings.prefect_port
    environment = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": stack.database("prefect", settings.prefect_db_password, "asyncpg"),
        "PREFECT_SERVER_API_AUTH_STRING": f"{PREFECT_USER}:{settings.prefect_password}",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": stack.prefect_url,
        # Prefect's default keeps leases in memory: after a restart it would never release the slots held before.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_UI_API_URL": f"{stack.prefect_url}/api",
    }
    return Service(
        name="prefect",
        address=stack.prefect_url,
        port=port,
        command=(*_MODULE, "prefect", "server", "start", "--host", HOST, "--port", str(port)),
        environment=_without_client_settings(stack.service_environment()) | environment,
        is_ready=lambda since: request_json(port, "/api/work_pools/filter", {}, settings.prefect_password) is not None,
        set_up=lambda: _configure_prefect(stack),
    )


def worker(stack: Stack) -> Service:
    """Return the worker, which runs deployments of the work pool as processes in the project folder."""
    temporary = Path(tempfile.gettempdir()) / f"cac-stack-{os.geteuid()}"
    return Service(
        name="worker",
        address=f"work pool {WORK_POOL}",
        port=None,
        command=(*_MODULE, "prefect", "worker", "start", "--pool", WORK_POOL, "--type", "process", "--name", _WORKER),
        environment=stack.service_environment() | stack.client_environment() | {"TMPDIR": str(temporary)},
        is_ready=lambda since: _worker_polls(stack, since),
        prepare=lambda: _make_temporary_folder(temporary),
        popen_options={"cwd": stack.root},
    )


def _make_temporary_folder(folder: Path) -> None:
    """Create the worker's folder for temporary files, outside the project and separate for each user.

    Prefect creates a folder with a fixed name in it, which a second user of the machine could not write to. It also
    copies the folder of a deployment into it, so it must not be inside the project.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise CacError(f"{folder} belongs to another user. Remove it, or set TMPDIR to one of your folders.")


def _rclone() -> str:
    path = Path(sys.executable).parent / "rclone"
    if not path.exists():
        raise CacError(f"rclone, the S3 server, is not installed: {path} does not exist. Run `make install`.")
    return str(path)


def _without_client_settings(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment without the address and password of a server that this process may be a client of."""
    return {
        name: value for name, value in environment.items() if name not in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")
    }


def _s3_is_ready(stack: Stack) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        s3_client(stack.s3_environment()).list_buckets()
    except (BotoCoreError, ClientError):
        return False
    return True


def _configure_prefect(stack: Stack) -> None:
    """Run `infra.automations` in a subprocess, because Prefect reads its settings when it is imported."""
    log = stack.logs / "automations.log"
    with log.open("wb") as output:
        done = subprocess.run(
            (*_MODULE, "infra.automations"),
            env=stack.service_environment() | stack.client_environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=_SET_UP_SECONDS,
        )
    if done.returncode:
        raise CacError(f"cannot set up Prefect's work pools and automations. See {log}.")


def _worker_polls(stack: Stack, since: float) -> bool:
    """Return whether the worker has polled the server after `since`; a worker of an earlier start does not count."""
    path = f"/api/work_pools/{WORK_POOL}/workers/filter"
    workers = request_json(stack.settings.prefect_port, path, {}, stack.settings.prefect_password) or []
    seen = [each["last_heartbeat_time"] for each in workers if each["name"] == _WORKER]
    return any(datetime.fromisoformat(moment).timestamp() >= since for moment in seen)
