"""The five services, in the order they start.

Passwords reach a service through its environment, never its command line, which anybody on the machine can read.
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
from infra.stack.provision import make_buckets, s3_client
from infra.stack.service import Service
from infra.stack.web import ask

_MODULE = (sys.executable, "-m")
_WORKER = "local"
_SET_UP_SECONDS = 300
# Uvicorn kills a worker that says nothing for 5 s; where the cores are busy, one that starts needs longer, every time.
_WORKER_SECONDS = 120


def waves(stack: Stack) -> tuple[tuple[Service, ...], ...]:
    """Return the services; those of one wave start together, once the wave before is ready.

    Raises:
        CacError: a program is not there.
    """
    return (postgres(stack), s3(stack)), (mlflow(stack), prefect(stack)), (worker(stack),)


def s3(stack: Stack) -> Service:
    """Return rclone's S3 server over a folder; each folder in it is a bucket."""
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
        is_ready=lambda since: _s3_answers(stack),
        prepare=lambda: folder.mkdir(mode=0o700, exist_ok=True),
        set_up=lambda: make_buckets(s3_client(stack.s3_environment()), (MLFLOW_BUCKET, DVC_BUCKET)),
    )


def mlflow(stack: Stack) -> Service:
    """Return the MLflow server: runs and models in PostgreSQL, artifacts in S3, both behind it."""
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
        is_ready=lambda since: ask(port, "/api/2.0/mlflow/experiments/search", {"max_results": 1}) is not None,
    )


def prefect(stack: Stack) -> Service:
    """Return the Prefect server, behind a password; once ready it learns our work pools, limits and automations."""
    settings, port = stack.settings, stack.settings.prefect_port
    environment = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": stack.database("prefect", settings.prefect_db_password, "asyncpg"),
        "PREFECT_SERVER_API_AUTH_STRING": f"{PREFECT_USER}:{settings.prefect_password}",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": stack.prefect_url,
        # In memory, as is Prefect's default, a restart would forget who holds a slot and never give it back.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_UI_API_URL": f"{stack.prefect_url}/api",
    }
    return Service(
        name="prefect",
        address=stack.prefect_url,
        port=port,
        command=(*_MODULE, "prefect", "server", "start", "--host", HOST, "--port", str(port)),
        environment=_without_client(stack.service_environment()) | environment,
        is_ready=lambda since: ask(port, "/api/work_pools/filter", {}, settings.prefect_password) is not None,
        set_up=lambda: _teach_prefect(stack),
    )


def worker(stack: Stack) -> Service:
    """Return the worker: it runs the deployments of the work pool as processes in the project's folder."""
    temporary = Path(tempfile.gettempdir()) / f"cac-stack-{os.geteuid()}"
    return Service(
        name="worker",
        address=f"work pool {WORK_POOL}",
        port=None,
        command=(*_MODULE, "prefect", "worker", "start", "--pool", WORK_POOL, "--type", "process", "--name", _WORKER),
        environment=stack.service_environment() | stack.client_environment() | {"TMPDIR": str(temporary)},
        is_ready=lambda since: _worker_polls(stack, since),
        prepare=lambda: _make_own(temporary),
        start={"cwd": stack.root},
    )


def _make_own(folder: Path) -> None:
    """Make the worker's folder for temporary files.

    Prefect makes one of a fixed name in it, which a second user of the machine could not write to. It must not lie in
    the project: Prefect copies a deployment's folder into it.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise CacError(f"{folder} is another user's. Remove it, or set TMPDIR to a folder of your own.")


def _rclone() -> str:
    path = Path(sys.executable).parent / "rclone"
    if not path.exists():
        raise CacError(f"rclone, which serves S3, is not installed: {path} is not there. Run `make install`.")
    return str(path)


def _without_client(environment: dict[str, str]) -> dict[str, str]:
    """Leave out the address of another server this process may be a client of."""
    return {
        name: value for name, value in environment.items() if name not in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")
    }


def _s3_answers(stack: Stack) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        s3_client(stack.s3_environment()).list_buckets()
    except (BotoCoreError, ClientError):
        return False
    return True


def _teach_prefect(stack: Stack) -> None:
    """Run `infra.automations` as its own process: Prefect reads its settings when it is imported."""
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
        raise CacError(f"Prefect's work pools and automations could not be made. What was said is in {log}.")


def _worker_polls(stack: Stack, since: float) -> bool:
    """Whether the worker has reported to the server after `since`; one of an earlier start does not count."""
    path = f"/api/work_pools/{WORK_POOL}/workers/filter"
    workers = ask(stack.settings.prefect_port, path, {}, stack.settings.prefect_password) or []
    seen = [each["last_heartbeat_time"] for each in workers if each["name"] == _WORKER]
    return any(datetime.fromisoformat(moment).timestamp() >= since for moment in seen)
