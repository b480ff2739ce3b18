"""The last flow runs from Prefect's records: the project's own database, or a server.

Prefect itself is not imported, which takes seconds. The server that PREFECT_API_URL names is asked over HTTP, for some
seconds at most; without one, the SQLite file that runs of this checkout write is read. There a killed run stays
"Running" for ever; the lock that it held shows whether it is alive.
"""

import base64
import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from cac.errors import CacError
from cac.paths import SCRATCH

ACTIVE = ("RUNNING", "PENDING", "PAUSED", "CANCELLING")
LOCKS = {
    "pipeline": SCRATCH / "run.lock",
    "retraining": SCRATCH / "retraining.lock",
    "ingestion": SCRATCH / "ingestion" / "lock",
    "monitoring": SCRATCH / "monitoring" / "lock",
}
_LOCKS_OF_LINUX = Path("/proc/locks")
_SHOWN = 5
_SECONDS = 5.0


@dataclass(frozen=True)
class FlowRun:
    """A run: its flow, its name, its state by type and name, its start (ISO 8601, UTC) and how long it took or takes.

    `seconds` is None of a run that did not start.
    """

    flow: str
    name: str
    state: str
    state_name: str
    started: str | None
    seconds: float | None

    @property
    def is_active(self) -> bool:
        """Whether it is not over."""
        return self.state in ACTIVE


@dataclass(frozen=True)
class FlowRuns:
    """The runs under way and the last others, newest first; the next scheduled one, if any; and where that is from."""

    source: str
    runs: tuple[FlowRun, ...]
    next_run: FlowRun | None


def flow_runs(root: Path, now: datetime) -> FlowRuns:
    """Return the last runs of all flows.

    Raises:
        CacError: the server does not answer, or the database cannot be read.
    """
    url = os.environ.get("PREFECT_API_URL")
    if url:
        return _of_server(url.rstrip("/"), now)
    home = Path(os.environ.get("PREFECT_HOME") or root / SCRATCH / "prefect")
    return _of_file(home.expanduser() / "prefect.db", root, now)


def _of_server(url: str, now: datetime) -> FlowRuns:
    flows = {flow["id"]: flow["name"] for flow in _ask(url, "/flows/filter", {})}
    active = _ask_runs(url, {"any_": ACTIVE}, "START_TIME_DESC")
    ended = _ask_runs(url, {"not_any_": [*ACTIVE, "SCHEDULED"]}, "START_TIME_DESC")
    coming = _ask_runs(url, {"any_": ["SCHEDULED"]}, "EXPECTED_START_TIME_ASC", 1)
    runs = [_of_json(run, flows, now) for run in (*active, *ended)]
    return FlowRuns(url, tuple(runs), _of_json(coming[0], flows, now) if coming else None)


def _ask_runs(url: str, states: Mapping[str, Any], sort: str, limit: int = _SHOWN) -> list[dict[str, Any]]:
    body = {"flow_runs": {"state": {"type": states}}, "sort": sort, "limit": limit}
    return _ask(url, "/flow_runs/filter", body)


def _ask(url: str, path: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    elif account := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {base64.b64encode(account.encode()).decode()}"
    try:
        with urlopen(Request(url + path, json.dumps(body).encode(), headers), timeout=_SECONDS) as answer:
            found: list[dict[str, Any]] = json.load(answer)
            return found
    except HTTPError as error:
        advice = "Check PREFECT_API_AUTH_STRING." if error.code in (401, 403) else "Check PREFECT_API_URL."
        raise CacError(f"the Prefect server at {url} says {error.code} {error.reason}. {advice}") from error
    except (OSError, HTTPException, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise CacError(
            f"the Prefect server at {url} does not answer ({why}). Start it, or unset PREFECT_API_URL."
        ) from error


def _of_json(run: Mapping[str, Any], flows: Mapping[str, str], now: datetime) -> FlowRun:
    started = run["start_time"] or run["expected_start_time"]
    seconds = _seconds(run["start_time"], run["end_time"], now)
    return FlowRun(flows.get(run["flow_id"], "?"), run["name"], run["state_type"], run["state_name"], started, seconds)


def _seconds(start: str | None, end: str | None, now: datetime) -> float | None:
    if start is None:
        return None
    ended = datetime.fromisoformat(end) if end else now
    return max(0.0, (ended - datetime.fromisoformat(start)).total_seconds())


_QUERY = """
    select flow.name, run.name, run.state_type, run.state_name, run.start_time, run.end_time, run.expected_start_time
    from flow_run as run join flow on flow.id = run.flow_id
    where {which} order by coalesce(run.start_time, run.expected_start_time) desc limit ?
"""


def _of_file(path: Path, root: Path, now: datetime) -> FlowRuns:
    if not path.is_file():
        return FlowRuns(str(path), (), None)
    active = ", ".join(f"'{state}'" for state in ACTIVE)
    queries = [f"state_type in ({active})", f"state_type not in ({active}, 'SCHEDULED')"]
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_SECONDS)) as database:
            rows = [row for which in queries for row in database.execute(_QUERY.format(which=which), (_SHOWN,))]
    except sqlite3.Error as error:
        raise CacError(f"cannot read Prefect's database {path}: {error}. The next run of a flow mends it.") from error
    held = {flow: _is_held(root / lock) for flow, lock in LOCKS.items()}
    return FlowRuns(str(path), tuple(_if_alive(_of_row(row, now), held) for row in rows), None)


def _of_row(row: tuple[str, str, str, str, str | None, str | None, str | None], now: datetime) -> FlowRun:
    """Return a run of a row whose times are UTC, but do not say so."""
    flow, name, state, state_name, *times = row
    start, end, expected = (f"{time.replace(' ', 'T')}+00:00" if time else None for time in times)
    return FlowRun(flow, name, state, state_name, start or expected, _seconds(start, end, now))


def _if_alive(run: FlowRun, held: Mapping[str, bool | None]) -> FlowRun:
    """Return the run as it is: one whose lock nobody holds was killed, and since when is not known."""
    if run.is_active and held.get(run.flow) is False:
        return replace(run, state="CRASHED", state_name="Killed", seconds=None)
    return run


def _is_held(lock: Path) -> bool | None:
    """Tell whether a process holds a lock, without touching it; None where the kernel does not say."""
    if not _LOCKS_OF_LINUX.is_file():
        return None
    if not lock.is_file():
        return False
    inode = str(lock.stat().st_ino)
    entries = (line.split() for line in _LOCKS_OF_LINUX.read_text(encoding="ascii").splitlines())
    return any("FLOCK" in entry and any(word.rpartition(":")[2] == inode for word in entry if word.count(":") == 2)
               for entry in entries)  # fmt: skip
