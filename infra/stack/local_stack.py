"""Where a stack is: its settings, its folders, its addresses, and the environment of programs that use it."""

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
_REGION = "us-east-1"  # clients insist on one; the server does not care

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
        """The folder that outlives a stop: databases, buckets, Prefect's own files, the lock."""
        return self.settings.state or self.root / ".stack"

    @property
    def logs(self) -> Path:
        """The folder with a log a service."""
        return self.root / ".scratch" / "stack"

    @property
    def lock_file(self) -> Path:
        """The file that the running supervisor holds locked; its number stands in it."""
        return self.state / "lock"

    @property
    def s3_url(self) -> str:
        """The S3 server's address."""
        return f"http://{HOST}:{self.settings.s3_port}"

    @property
    def mlflow_url(self) -> str:
        """The MLflow server's address."""
        return f"http://{HOST}:{self.settings.mlflow_port}"

    @property
    def prefect_url(self) -> str:
        """The Prefect server's address, without `/api`."""
        return f"http://{HOST}:{self.settings.prefect_port}"

    def database(self, user: str, password: str, driver: str) -> str:
        """Return the address of the user's own database, of the same name."""
        return f"postgresql+{driver}://{user}:{password}@{HOST}:{self.settings.postgres_port}/{user}"

    def s3_environment(self) -> dict[str, str]:
        """Return what boto3, DVC and MLflow need to reach the S3 server."""
        return {
            "AWS_ENDPOINT_URL_S3": self.s3_url,
            "MLFLOW_S3_ENDPOINT_URL": self.s3_url,
            "AWS_ACCESS_KEY_ID": self.settings.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": self.settings.s3_secret_key,
            "AWS_DEFAULT_REGION": _REGION,
        }

    def client_environment(self) -> dict[str, str]:
        """Return what a program needs to use the stack; it holds passwords."""
        return {
            **self.s3_environment(),
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            "PREFECT_API_URL": f"{self.prefect_url}/api",
            "PREFECT_API_AUTH_STRING": f"{PREFECT_USER}:{self.settings.prefect_password}",
        }

    def service_environment(self) -> dict[str, str]:
        """Return the environment every service starts from: this process's, its own programs first, no telemetry."""
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
        return {**os.environ, **QUIET, "PATH": path, "PREFECT_HOME": str(self.state / "prefect")}


def open_stack(root: Path) -> Stack:
    """Return the stack of the project in `root`, its settings made if there are none.

    Raises:
        CacError: the settings are wrong, or gone while the databases that know their passwords are still there.
    """
    path = root / "infra" / ".env"
    if not path.exists():
        if (root / ".stack" / "postgres").exists():
            raise CacError(
                f"{path} is gone, and with it the passwords of the data in .stack: restore it or delete .stack."
            )
        write_settings(make_settings(), path)
    return Stack(root.resolve(), load_settings(path))
