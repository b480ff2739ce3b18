"""Monitoring as a Prefect flow: recent clips of production against what the champion was measured on.

`cac drift check` scores and compares; here it is scheduled, shown, and told: drift becomes the event `cac.drift.found`,
once for the same clips, which a trigger in `prefect.yaml` turns into a retraining. The event is sent before that is
noted, so it comes at least once; its id follows from the monitoring's run. Left out: what to do about drift.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Cancelled, Completed, Failed, State

from cac.errors import CacError
from cac.monitoring.drift import DriftResult
from cac.monitoring.records import DRIFT, KNOWN, NO_DRIFT, TOO_FEW, is_announced, mark_announced
from cac.monitoring.report import DriftCheck, DriftReport
from cac.params import PARAMS_FILE, load_params
from cac.paths import SCRATCH
from flows.__main__ import extract_error
from flows.pipeline import run_command
from flows.support.detached_output import ignore_broken_output
from flows.support.environment import prepare, stay_offline
from flows.support.events import TriggerEvent, send_event
from flows.support.run_context import run_context
from flows.support.run_lock import run_lock
from flows.support.subprocesses import RUNNER

EVENT = "cac.drift.found"
RESOURCE = "cac.drift"
NO_PLACE = "NoPlace"
STATES = {DRIFT: "Drift", NO_DRIFT: "NoDrift", TOO_FEW: "TooFewClips", KNOWN: "Known"}
FOLDER = SCRATCH / "monitoring"
REPORT, PICTURE = FOLDER / "report.json", FOLDER / "drift.png"


@flow(name="monitoring", persist_result=False, log_prints=True)
def monitoring(place: str | None = None, tell: bool = True) -> State:
    """Monitor the clips below a place with the champion, from the project in the current folder.

    Args:
        place: a folder, or `s3://bucket/prefix`; "{date}" in it is the day before. None: `monitoring.source` of
            params.yaml, and nothing to do if that is none, either.
        tell: whether to send the event; else it waits for a run that does.
    """
    root = Path.cwd()
    prepare(root)
    ignore_broken_output()
    try:
        params = load_params(PARAMS_FILE)
        named = place or params.monitoring.source
        if named is None:
            return Completed(
                name=NO_PLACE, message="nothing to monitor: monitoring.place in params.yaml names no place"
            )
        if params.model.base == "nano":
            stay_offline()
        with run_lock(root / FOLDER / "lock") as lock:
            RUNNER.lock = lock
            with run_context(root):
                return _monitor(dated(named), tell)
    except CacError as error:
        return Failed(message=str(error))
    finally:
        RUNNER.lock = None


def dated(place: str) -> str:
    """Return the place with the day before the run was due, by UTC, where it says "{date}"."""
    day = runtime.flow_run.scheduled_start_time - timedelta(days=1)
    return place.replace("{date}", day.strftime("%Y-%m-%d"))


def _monitor(place: str, tell: bool) -> State:
    state = check(place, return_state=True)
    if RUNNER.interrupted:
        return Cancelled(message="interrupted; the scores so far are kept")
    if not state.is_completed():
        said = extract_error(RUNNER.last.tail if RUNNER.last else ())
        return Failed(message="\n".join(said).removeprefix("error: ") or state.message)
    checked = DriftCheck.model_validate_json(REPORT.read_text(encoding="utf-8"))
    report, run_id = checked.report, checked.run_id
    text = summary(report)
    show(report, run_id, text)
    if report.outcome == DRIFT:
        if is_announced(run_id):
            return Completed(name=STATES[KNOWN], message=f"told before: {text}")
        if tell:
            announce(report, run_id, text)
    return Completed(name=STATES[report.outcome], message=text)


@task(task_run_name="check", cache_policy=NO_CACHE, persist_result=False)
def check(place: str) -> State:
    """Score and compare, by `cac drift check`; what it was cut off in, it goes on with."""
    REPORT.unlink(missing_ok=True)
    files = ("--out", str(REPORT), "--picture", str(PICTURE))
    return run_command("check", (sys.executable, "-m", "cac", "drift", "check", place, *files))


def summary(report: DriftReport) -> str:
    """Return what came of a monitoring, in one sentence."""
    who = f"{report.clips} clips of {report.source}, by {report.model}"
    if report.outcome == DRIFT:
        return f"drift in {', '.join(report.drifted)}: {who}"
    if report.outcome == NO_DRIFT:
        return f"no drift: {who}"
    if report.outcome == TOO_FEW:
        return f"too few clips to judge: {who}"
    return f"nothing new: an alarm was sent about {report.already_alarmed} of the clips, the rest are too few: {who}"


def show(report: DriftReport, run_id: str, text: str) -> None:
    """Show a monitoring in Prefect: each measure, the outcome, and where report and picture are."""
    rows = [_row(one) for one in report.measures]
    if rows:
        create_table_artifact(rows, key="drift", description=f"{text}; beside {report.reference}")
    lines = [
        f"{text}.",
        f"Beside: {report.reference or 'nothing'}.",
        f"MLflow run `{run_id}` has the report and the picture.",
    ]
    create_markdown_artifact("\n\n".join(lines), key="monitoring", description="What came of the monitoring")
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if server.startswith("http"):
        create_link_artifact(f"{server}/#/runs/{run_id}/artifacts", key="monitoring-run", link_text="In MLflow")
    elif PICTURE.is_file():
        create_link_artifact(PICTURE.absolute().as_uri(), key="monitoring-picture", link_text="Picture")


def _row(one: DriftResult) -> dict[str, Any]:
    return {
        "measure": one.measure,
        "reference": _value(one.before),
        "recent": _value(one.after),
        "distance": "too few" if one.distance is None else f"{one.distance:.3f}",
        "p": "–" if one.p_value is None else f"{one.p_value:.2g}",
        "drifted": "yes" if one.drifted else "no",
    }


def _value(value: float | dict[str, float] | None) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {share:.0%}" for name, share in value.items() if share)
    return "–" if value is None else f"median {value:.3f}"


@task(task_run_name="announce", cache_policy=NO_CACHE, persist_result=False)
def announce(report: DriftReport, run_id: str, text: str) -> None:
    """Send the event that retraining listens to, and note that it was sent."""
    get_run_logger().warning(text)
    payload = {
        "message": text,
        "place": report.source,
        "model": report.model,
        "measures": ", ".join(report.drifted),
        "mlflow_run": run_id,
    }
    send_event(TriggerEvent(EVENT, RESOURCE, report.source, run_id, payload))
    mark_announced(run_id)
