"""End MLflow runs whose process was killed: it could not end its run itself, so the next stage does.

A run is tagged with its process: machine, process id, and start time, because ids are used again. Out of scope: runs of
other machines, and systems without `/proc`, which do not show a start time.
"""

import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROCESS_TAG = "process"
_START_TIME_FIELD = 19  # of the fields of /proc/PID/stat that follow the name


def process_identity(pid: int) -> str:
    """Return "machine pid start" of a process on this machine, which identifies it."""
    return f"{socket.gethostname()} {pid} {_start_time(pid)}"


def end_orphaned_runs(client: "MlflowClient", experiment_id: str) -> list[str]:
    """End runs as KILLED that are still running though their process on this machine has ended; return their ids."""
    running = client.search_runs([experiment_id], "attributes.status = 'RUNNING'")
    ended = [run.info.run_id for run in running if _has_ended(run.data.tags.get(PROCESS_TAG, ""))]
    for run_id in ended:
        client.set_terminated(run_id, "KILLED")
    return ended


def _has_ended(process: str) -> bool:
    """Return whether a process, as in `process_identity`, ran on this machine and has ended."""
    parts = process.split()
    if len(parts) != 3 or parts[0] != socket.gethostname() or not Path("/proc/self/stat").exists():
        return False
    return _start_time(int(parts[1])) != parts[2]


def _start_time(pid: int) -> str:
    """Return the start time of a process in clock ticks since boot; "-" if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "-"
    return text.rpartition(")")[2].split()[_START_TIME_FIELD]
