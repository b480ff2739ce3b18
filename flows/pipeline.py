"""The pipeline as a Prefect flow: one task per DVC stage, then register and promote.

DVC is the only cache and `dvc.yaml` the only graph, so tasks are neither cached nor retried here: an interrupted stage
resumes from its checkpoint when it runs again. A failed step ends the flow without an exception, because its message is
in the log already.
"""

import json
import signal
import sys
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Cancelled, Completed, Failed, State

from cac.errors import EXIT_REFUSED
from cac.params import PARAMS_FILE, load_params
from cac.paths import DATA_DVC, DATASET, DECISION, DVC_LOCK, SCRATCH, STAGES, STEPS
from cac.tracking.dvc_files import read_locked_stages, stage_inputs
from cac.tracking.lineage import changed_keys, join_names
from flows.support.artifacts import (
    challenger_and_references,
    show_dataset_diff,
    show_decision,
    show_evaluation,
    show_validation,
    show_versions,
)
from flows.support.run_context import run_context
from flows.support.subprocesses import RUNNER

REGISTERED_FILE = SCRATCH / "registered.json"
_DVC_HINTS = (
    "To track the changes",
    "git add",
    "To enable auto staging",
    "dvc config core.autostage",
    "Use `dvc push`",
    "Generating lock file",
    "Updating lock file",
)


@flow(name="pipeline", persist_result=False)
def pipeline(until: str = STEPS[-1]) -> State:
    """Run the steps in order, up to and including `until`, in the current folder."""
    with run_context(Path.cwd()):
        _show_new_data(Path.cwd())
        return _run_steps(until)


def _show_new_data(root: Path) -> None:
    lock = (root / DVC_LOCK).read_text(encoding="utf-8") if (root / DVC_LOCK).is_file() else None
    show_dataset_diff(root, lock, (root / DATA_DVC).read_text(encoding="utf-8"), str(root / DATASET))


def _run_steps(until: str) -> State:
    for step in STEPS[: STEPS.index(until) + 1]:
        if step == "promote":
            _show_versions()
        state = _start(step)
        if not state.is_completed():
            return Cancelled(message=f"{step} was interrupted") if RUNNER.interrupted else as_flow_state(state)
    return Completed(message=f"done, to {until}")


def _show_versions() -> None:
    """Show the registered version beside the champion, before the gate moves the alias."""
    params, registered = load_params(PARAMS_FILE), json.loads(REGISTERED_FILE.read_text(encoding="utf-8"))
    show_versions(params, *challenger_and_references(params, registered["version"]))


def _start(step: str) -> State:
    if step in STAGES:
        return run_stage.with_options(task_run_name=step)(step, return_state=True)
    return (register if step == "register" else promote)(return_state=True)


def as_flow_state(state: State) -> State:
    """Return a step's state as the flow's; Prefect would turn the task's own state into "1/1 states failed"."""
    return State(type=state.type, name=state.name, message=state.message)


@task(cache_policy=NO_CACHE, persist_result=False)
def run_stage(stage: str, limit_seconds: float | None = None) -> State:
    """Bring one DVC stage up to date; nothing runs if nothing changed. `limit_seconds` is its time limit, if any."""
    root = Path.cwd()
    before = stage_inputs(root, stage)
    command = (sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", stage)
    state = run_command(stage, command, limit=limit_seconds)
    if state.is_completed() and (changed := changed_keys(before, read_locked_stages(root)[stage].inputs)):
        reason = f"{join_names(changed)} changed while {stage} ran, so dvc.lock may not name what the stage read"
        return Failed(message=f"{reason}. Run `dvc repro --force {stage}`")
    if stage == "evaluate" and state.is_completed():
        show_evaluation(root)
    if stage == "validate":
        show_validation(root)
    return state


@task(task_run_name="register", cache_policy=NO_CACHE, persist_result=False)
def register() -> State:
    """Register the trained model, unless it is registered already."""
    return run_command("register", (sys.executable, "-m", "cac", "register", "--out", str(REGISTERED_FILE)))


@task(task_run_name="promote", cache_policy=NO_CACHE, persist_result=False)
def promote(remeasure: bool = False) -> State:
    """Run the gate on the registered version; a refusal is an outcome, not a failure."""
    version = json.loads(REGISTERED_FILE.read_text(encoding="utf-8"))["version"]
    command = (sys.executable, "-m", "cac", "promote", "--version", version, "--out", str(DECISION))
    more = ("--remeasure",) if remeasure else ()
    state = run_command("promote", (*command, *more), accepted_code=EXIT_REFUSED)
    if state.is_completed():
        show_decision(json.loads(DECISION.read_text(encoding="utf-8")))
    return state


def run_command(step: str, command: tuple[str, ...], accepted_code: int = 0, limit: float | None = None) -> State:
    """Run a step's command in the current folder and log its output.

    The exit code `accepted_code` is no failure, either; after `limit` seconds the command is stopped.
    """
    finished = RUNNER.run(command, _log_line, Path.cwd(), limit)
    if RUNNER.interrupted:
        return Cancelled(message=f"{step} was interrupted")
    if finished.timed_out:
        return Failed(name="TimedOut", message=f"{step} was stopped after its time limit of {limit:g} s")
    if finished.code in (0, accepted_code):
        return Completed(message=f"{step} is done")
    how = f"exit code {finished.code}" if finished.code > 0 else signal.Signals(-finished.code).name
    return Failed(message=f"{step} failed ({how})")


def _log_line(line: str) -> None:
    """Log a line of a command's output, except DVC's hints on committing by hand."""
    if line.strip() and not line.strip().startswith(_DVC_HINTS):
        get_run_logger().info(line)
