"""`Stack`: the settings, folders and addresses of a stack, and the environment for its clients."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from cac.errors import CacError
from infra.stack.settings import Settings, load_settings, make_settings, write_settings

HOST = "127.0.0.1"
PREFECT_USER = "cac"
WORK_POOL = "cac"
MLFLOW_BUCKET = "mlflow"
DVC_BUCKET = "dvc"
_REGION = "us-east-1"  # clients require a region; the server ignores it

QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True)
class Stack:
    """The stack of the project in `root`."""

    root: Path
    settings: Settings

    @property
    def state(self) -> Path:
        """The folder of the data that persist after a stop: databases, buckets, Prefect's files, the lock."""
        return self.settings.state or self.root / ".stack"

    @property
    def logs(self) -> Path:
        """The folder with one log per service."""
        return self.root / ".scratch" / "stack"

    @property
    def lock_file(self) -> Path:
        """The file that the running supervisor locks; it contains the supervisor's process id."""
        return self.state / "lock"

    @property
    def s3_url(self) -> str:
        """The address of the S3 server."""
        return f"http://{HOST}:{self.settings.s3_port}"

    @property
    def mlflow_url(self) -> str:
        """The address of the MLflow server."""
        return f"http://{HOST}:{self.settings.mlflow_port}"

    @property
    def prefect_url(self) -> str:
        """The address of the Prefect server, without `/api`."""
        return f"http://{HOST}:{self.settings.prefect_port}"

    def database(self, user: str, password: str, driver: str) -> str:
        """Return the SQLAlchemy address of the database that has the name of `user`."""
        return f"postgresql+{driver}://{user}:{password}@{HOST}:{self.settings.postgres_port}/{user}"

    def s3_environment(self) -> dict[str, str]:
        """Return the environment variables that boto3, DVC and MLflow need to use the S3 server."""
        return {
            "AWS_ENDPOINT_URL_S3": self.s3_url,
            "MLFLOW_S3_ENDPOINT_URL": self.s3_url,
            "AWS_ACCESS_KEY_ID": self.settings.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": self.settings.s3_secret_key,
            "AWS_DEFAULT_REGION": _REGION,
        }

    def client_environment(self) -> dict[str, str]:
        """Return the environment variables that a client of the stack needs, passwords included."""
        return {
            **self.s3_environment(),
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            "PREFECT_API_URL": f"{self.prefect_url}/api",
            "PREFECT_API_AUTH_STRING": f"{PREFECT_USER}:{self.settings.prefect_password}",
        }

    def service_environment(self) -> dict[str, str]:
        """Return the base environment of every service: our programs first in PATH, no telemetry."""
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
        return {**os.environ, **QUIET, "PATH": path, "PREFECT_HOME": str(self.state / "prefect")}


def open_stack(root: Path) -> Stack:
    """Return the stack of the project in `root`, and create its settings if there are none.

    Raises:
        CacError: the settings are invalid, or they are missing while databases with their passwords exist.
    """
    path = root / "infra" / ".env"
    if not path.exists():
        if (root / ".stack" / "postgres").exists():
            raise CacError(
                f"{path} is missing, and with it the passwords of the data in .stack: restore it or delete .stack."
            )
        write_settings(make_settings(), path)
    return Stack(root.resolve(), load_settings(path))
