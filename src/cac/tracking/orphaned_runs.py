"""MLflow runs whose process is gone: who is killed cannot say that its run is over, so the next stage says it.

A run is tagged with its process: machine, number, and when it was started, as numbers are used again. Left out: runs of
other machines, of which nothing is known here, and of systems without `/proc`, where a number alone proves little.
"""

import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROCESS_TAG = "process"
_START_TIME_FIELD = 19  # of the fields of /proc/PID/stat that follow the name


def process_identity(number: int) -> str:
    """Return what names a process of this machine: "machine number start"."""
    return f"{socket.gethostname()} {number} {_start_time(number)}"


def end_orphaned_runs(client: "MlflowClient", experiment_id: str) -> list[str]:
    """End, as KILLED, the experiment's running runs whose process was on this machine and is gone; return their ids."""
    running = client.search_runs([experiment_id], "attributes.status = 'RUNNING'")
    gone = [run.info.run_id for run in running if _has_ended(run.data.tags.get(PROCESS_TAG, ""))]
    for run_id in gone:
        client.set_terminated(run_id, "KILLED")
    return gone


def _has_ended(process: str) -> bool:
    """Tell whether a process named by `named` was this machine's and has ended."""
    parts = process.split()
    if len(parts) != 3 or parts[0] != socket.gethostname() or not Path("/proc/self/stat").exists():
        return False
    return _start_time(int(parts[1])) != parts[2]


def _start_time(number: int) -> str:
    """Return when a process was started, in ticks since the machine was; "-" if it is not there."""
    try:
        text = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "-"
    return text.rpartition(")")[2].split()[_START_TIME_FIELD]
