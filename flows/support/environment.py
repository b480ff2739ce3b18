"""The environment variables of a run and its child processes. Set them before importing Prefect, which reads them then.

Variables that the user has set stay, except PATH: stages must run the commands of this Python environment.
"""

import os
import sys
from pathlib import Path

from cac.paths import SCRATCH

LOCK_FILE = SCRATCH / "run.lock"

_DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "true",  # of the machine, every 10 s; costs 0.15 % of a core
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s %(levelname)-5s pipeline | %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s %(levelname)-5s %(task_run_name)s | %(message)s",
    "PYTHONUNBUFFERED": "1",  # show a stage's output line by line
    "TOKENIZERS_PARALLELISM": "false",
}


def prepare(root: Path) -> None:
    """Set the environment for a run in `root`."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(root / SCRATCH / "prefect"))
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))


def stay_offline() -> None:
    """Keep the Hugging Face libraries off the network, for a base model that is on disk."""
    os.environ["HF_HUB_OFFLINE"] = "1"
