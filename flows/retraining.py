"""Retraining as a Prefect flow, for a schedule or an event; `prefect.yaml` deploys it.

It takes one commit into a worktree of its own (`worktree.py`). If any stage is out of date there, it runs the steps of
the pipeline: data, stages, `dvc push`, results on a branch, registration, a window for a veto, the gate. Each may be
done again: a retraining that was killed is gone on with by the next one of the same commit. What happened is told by
events named `cac.retraining.…`, which automations turn into messages (`infra/automations.py`). Left out: making data,
finding drift, merging the branch.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.concurrency._asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.events import emit_event
from prefect.states import Completed, Failed, State
from pydantic import BaseModel, ConfigDict, Field

from cac.errors import CacError
from cac.params import PARAMS_FILE, Params, load_params
from cac.paths import DECISION, SCRATCH, STAGES
from cac.registry.gate import Decision
from cac.registry.overrides import open_veto_window
from flows.data import ensure_data
from flows.pipeline import REGISTERED_FILE, as_flow_state, promote, register, run_stage
from flows.support.detached_output import ignore_broken_output
from flows.support.environment import prepare, stay_offline
from flows.support.git_worktree import (
    Worktree,
    branch_of,
    close,
    commit_results,
    default_remote,
    git,
    is_done,
    open_worktree,
    resolve,
)
from flows.support.retraining_artifacts import Rivals, show_new_data, show_outcome, show_rivals
from flows.support.run_context import run_context
from flows.support.run_lock import run_lock
from flows.support.s3_hints import with_s3_hints
from flows.support.subprocesses import RUNNER

LOCK = SCRATCH / "retraining.lock"
EVENTS = "cac.retraining"
NOTHING_NEW, PROMOTED, REFUSED = "NothingNew", "Promoted", "Refused"
_LONGEST_WINDOW = 7 * 24 * 3600
_LONGEST_STAGE = 28 * 24 * 3600
_DELAYS = [2.0, 5.0, 15.0]  # seconds, before a transfer is tried again


class Settings(BaseModel):
    """How to retrain.

    Attributes:
        veto_seconds: how long a registered version waits for `cac veto` before it is put to the gate.
        stage_seconds: how long a stage may take before it is taken to hang and stopped; None for as long as it likes.
        push: whether what the stages made goes to the default DVC remote before it is committed.
        git_remote: where commits are fetched from and the results' branch is pushed to; None for neither.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    veto_seconds: Annotated[int, Field(ge=0, le=_LONGEST_WINDOW)] = 0
    stage_seconds: Annotated[int, Field(ge=1, le=_LONGEST_STAGE)] | None = None
    push: bool = True
    git_remote: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w./-]*$")] | None = None


DEFAULTS = Settings()


@flow(name="retraining", persist_result=False, log_prints=True)
def retraining(revision: str = "main", reason: str = "by hand", settings: Settings = DEFAULTS) -> State:
    """Retrain what `revision` names now, if anything has changed, in a worktree of the checkout in the current folder.

    Args:
        revision: a branch, tag or hash of git.
        reason: who or what asked for it, for the log.
        settings: how.
    """
    project = Path.cwd()
    prepare(project)
    ignore_broken_output()
    get_run_logger().info("retraining of %s, asked for: %s", revision, reason)
    try:
        with run_lock(project / LOCK) as lock:
            RUNNER.lock = lock
            return _retrain(project, revision, settings)
    except CacError as error:
        return Failed(message=str(error))
    finally:
        RUNNER.lock = None


def _retrain(project: Path, revision: str, settings: Settings) -> State:
    if settings.git_remote:
        git(project, "fetch", "--quiet", settings.git_remote)
    commit = resolve(project, revision)
    branch = branch_of(project, commit)
    if is_done(project, branch):
        return _nothing_new(f"{revision} ({commit[:8]}) was retrained before: the results are on {branch}")
    if settings.push and default_remote(project) is None:
        raise CacError(
            f"{project} has no default DVC remote, so nobody else could get the results. Name one with "
            "`dvc remote add --default`, or set `push: false`."
        )
    tree = open_worktree(project, commit, branch)
    with tree.entered():
        state = _work(tree, settings)
    if not state.is_completed():
        return as_flow_state(state)
    close(tree)
    return state


def _work(tree: Worktree, settings: Settings) -> State:
    """Do all steps in the worktree, which is the current folder."""
    stale = first_stale_stage()
    if stale is None and not tree.has_progress:
        return _nothing_new(f"every stage of {tree.commit[:8]} is up to date with its data, settings and code")
    get_run_logger().info("to be done: %s", f"{stale} and what follows" if stale else "what follows the stages")
    if load_params(PARAMS_FILE).model.base == "nano":
        stay_offline()
    with run_context(tree.path):
        return _retrain_in(tree, settings)


def _retrain_in(tree: Worktree, settings: Settings) -> State:
    fetch(default_remote(tree.project) is not None)
    ensure_data(Path.cwd())
    show_new_data(tree)
    state = _run_stages(settings.stage_seconds)
    if not state.is_completed():
        return state
    if settings.push:
        push_results()
    commit = commit_results(tree)
    if settings.git_remote:
        git(tree.project, "push", "--quiet", settings.git_remote, f"refs/heads/{tree.branch}")
    get_run_logger().info("the results are commit %s on %s", commit, tree.branch)
    state = register(return_state=True)
    return _decide(tree, settings) if state.is_completed() else state


def first_stale_stage() -> str | None:
    """Return the first stage of the current folder that is out of date; None if all are up to date.

    Data and models need not be there: hashes are compared. DVC gives up at a stale stage whose inputs are missing, so
    its exit code says nothing; what is really wrong shows when the stages are run.
    """
    command = (sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--dry", "--allow-missing")
    said = RUNNER.run(command, lambda line: None, Path.cwd()).tail
    return next((stage for stage in STAGES if f"Stage '{stage}' didn't change, skipping" not in said), None)


@task(cache_policy=NO_CACHE, persist_result=False, retries=len(_DELAYS), retry_delay_seconds=_DELAYS)
def fetch(from_remote: bool) -> None:
    """Get the dataset, and what stages that are up to date have made, from the cache or else the remote.

    What is in neither is passed over: a stale stage makes its outputs anew, and `ensure_data` asks for the dataset.
    """
    _dvc(("pull" if from_remote else "checkout", "--allow-missing", "--force"))


@task(cache_policy=NO_CACHE, persist_result=False, retries=len(_DELAYS), retry_delay_seconds=_DELAYS)
def push_results() -> None:
    """Push the dataset and what the stages made to the default remote."""
    _dvc(("push",))


def _dvc(command: tuple[str, ...]) -> None:
    """Run a command of DVC, never with its `--quiet`: that would keep the reason of a failure to itself."""
    finished = RUNNER.run((sys.executable, "-m", "dvc", "--wait-for-lock", *command), print, Path.cwd())
    if finished.code:
        raise CacError(f"`dvc {' '.join(command)}` failed: " + with_s3_hints("\n".join(finished.tail[-5:])))


def _run_stages(limit_seconds: int | None) -> State:
    with _slot("training"):
        for stage in STAGES:
            state = run_stage.with_options(task_run_name=stage)(stage, limit_seconds, return_state=True)
            if not state.is_completed():
                return state
    return Completed()


@contextmanager
def _slot(limit: str) -> Iterator[None]:
    """Hold a slot of the server's concurrency limit; one that cannot be renewed for a while ends nothing."""
    try:
        with concurrency(limit, strict=True, raise_on_lease_renewal_failure=False):
            yield
    except ConcurrencySlotAcquisitionError as error:
        raise CacError(
            f"Prefect's server gives no slot of the limit {limit!r}: {error}. Make it: python -m infra.automations"
        ) from error


def _decide(tree: Worktree, settings: Settings) -> State:
    """Give people time for a veto, put the registered version to the gate, and tell the outcome."""
    registered = json.loads(REGISTERED_FILE.read_text(encoding="utf-8"))
    params = load_params(PARAMS_FILE)
    rivals = show_rivals(params, registered["version"])
    if not rivals.is_decided:
        _wait_for_veto(params, rivals, settings.veto_seconds)
    with _slot("promotion"):
        state = promote(remeasure_champion=rivals.on_other_clips, return_state=True)
    if not state.is_completed():
        return state
    decision = Decision.from_dict(json.loads(DECISION.read_text(encoding="utf-8")))
    text = f"{decision.model_name} version {decision.version} "
    text += "is the champion" if decision.passed else f"is refused, the champion stays: {decision.reasons()}"
    show_outcome(tree, text)
    name = PROMOTED if decision.passed else REFUSED
    _tell(name.lower(), text, version=decision.version, branch=tree.branch)
    return Completed(name=name, message=text)


def _wait_for_veto(params: Params, rivals: Rivals, seconds: int) -> None:
    open_veto_window(params, rivals.challenger, seconds)
    text = f"version {rivals.challenger} is registered. It is put to the gate in {seconds} s; to keep it from that: "
    text += f"cac veto --version {rivals.challenger} --reason TEXT"
    get_run_logger().info(text)
    _tell("registered", text, version=rivals.challenger)
    time.sleep(seconds)


def _nothing_new(why: str) -> State:
    get_run_logger().info("nothing to do: %s", why)
    return Completed(name=NOTHING_NEW, message=why)


def _tell(what: str, text: str, **facts: str) -> None:
    """Emit an event that automations can turn into a message."""
    emit_event(f"{EVENTS}.{what}", resource={"prefect.resource.id": EVENTS}, payload={"message": text, **facts})
