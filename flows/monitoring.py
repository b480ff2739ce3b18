"""Monitoring as a Prefect flow: recent production clips against the clips the champion was evaluated on.

`cac drift check` scores and compares; the flow schedules it, shows the result, and sends the event `cac.drift.found`,
once for the same clips, which a trigger in `prefect.yaml` turns into a retraining. It is marked as sent afterwards, so
it is sent at least once; its id follows from the monitoring's MLflow run. Out of scope: reacting to drift.
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
from flows.pipeline import run_command
from flows.support.detached_output import ignore_broken_output
from flows.support.environment import prepare, stay_offline
from flows.support.events import TriggerEvent, send_event
from flows.support.exits import extract_error
from flows.support.run_context import run_context
from flows.support.run_lock import run_lock
from flows.support.subprocesses import RUNNER

EVENT = "cac.drift.found"
RESOURCE = "cac.drift"
NO_SOURCE = "NoSource"
STATES = {DRIFT: "Drift", NO_DRIFT: "NoDrift", TOO_FEW: "TooFewClips", KNOWN: "Known"}
FOLDER = SCRATCH / "monitoring"
REPORT, PICTURE = FOLDER / "report.json", FOLDER / "drift.png"


@flow(name="monitoring", persist_result=False, log_prints=True)
def monitoring(source: str | None = None, send_events: bool = True) -> State:
    """Monitor the clips below `source` with the champion, from the project in the current folder.

    Args:
        source: a folder or `s3://bucket/prefix`; "{date}" in it is the day before. None: `monitoring.source` of
            params.yaml; if that is none, too, the run does nothing.
        send_events: whether to send the event; if not, a later run sends it.
    """
    root = Path.cwd()
    prepare(root)
    ignore_broken_output()
    try:
        params = load_params(PARAMS_FILE)
        source = source or params.monitoring.source
        if source is None:
            return Completed(name=NO_SOURCE, message="nothing to monitor: monitoring.source in params.yaml is null")
        if params.model.base == "nano":
            stay_offline()
        with run_lock(root / FOLDER / "lock") as lock:
            RUNNER.lock = lock
            with run_context(root):
                return _monitor(with_date(source), send_events)
    except CacError as error:
        return Failed(message=str(error))
    finally:
        RUNNER.lock = None


def with_date(source: str) -> str:
    """Return the source with "{date}" replaced by the day before the run was due, in UTC."""
    day = runtime.flow_run.scheduled_start_time - timedelta(days=1)
    return source.replace("{date}", day.strftime("%Y-%m-%d"))


def _monitor(source: str, send_events: bool) -> State:
    state = check(source, return_state=True)
    if RUNNER.interrupted:
        return Cancelled(message="interrupted; the scores so far are kept")
    if not state.is_completed():
        lines = extract_error(RUNNER.last.tail if RUNNER.last else ())
        return Failed(message="\n".join(lines).removeprefix("error: ") or state.message)
    checked = DriftCheck.model_validate_json(REPORT.read_text(encoding="utf-8"))
    report, run_id = checked.report, checked.run_id
    text = summary(report)
    show(report, run_id, text)
    if report.outcome == DRIFT:
        if is_announced(run_id):
            return Completed(name=STATES[KNOWN], message=f"reported before: {text}")
        if send_events:
            announce(report, run_id, text)
    return Completed(name=STATES[report.outcome], message=text)


@task(task_run_name="check", cache_policy=NO_CACHE, persist_result=False)
def check(source: str) -> State:
    """Score and compare the clips with `cac drift check`, which resumes an interrupted check."""
    REPORT.unlink(missing_ok=True)
    files = ("--out", str(REPORT), "--picture", str(PICTURE))
    return run_command("check", (sys.executable, "-m", "cac", "drift", "check", source, *files))


def summary(report: DriftReport) -> str:
    """Return the outcome of a monitoring in one sentence."""
    clips = f"{report.clips} clips of {report.source}, by {report.model}"
    if report.outcome == DRIFT:
        return f"drift in {', '.join(report.drifted)}: {clips}"
    if report.outcome == NO_DRIFT:
        return f"no drift: {clips}"
    if report.outcome == TOO_FEW:
        return f"too few clips to judge: {clips}"
    return f"nothing new: an alarm was sent about {report.already_alarmed} of the clips, the rest are too few: {clips}"


def show(report: DriftReport, run_id: str, text: str) -> None:
    """Show a monitoring in Prefect: each measure, the outcome, and links to report and picture."""
    rows = [_row(one) for one in report.measures]
    if rows:
        create_table_artifact(rows, key="drift", description=f"{text}; reference: {report.reference}")
    lines = [
        f"{text}.",
        f"Reference: {report.reference or 'none'}.",
        f"The report and the picture are in the MLflow run `{run_id}`.",
    ]
    create_markdown_artifact("\n\n".join(lines), key="monitoring", description="Outcome of the monitoring")
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
    """Send the event that retraining listens to, and mark it as sent."""
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
