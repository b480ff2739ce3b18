"""Retraining as a Prefect flow, for a schedule or an event; `prefect.yaml` deploys it.

It checks one commit out in a git worktree. If any stage is out of date there, it runs the steps of the pipeline: data,
stages, `dvc push`, results on a branch, registration, a veto window, the gate. Each step can be repeated, so the next
retraining of the same commit resumes a killed one. Events named `cac.retraining.…` report the outcome; automations turn
them into messages (`infra/automations.py`). Out of scope: new data, drift detection, merging the branch.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.concurrency._asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.events import emit_event
from prefect.states import Completed, Failed, State
from pydantic import BaseModel, ConfigDict, Field

from cac.errors import CacError
from cac.io.git import read_git
from cac.params import PARAMS_FILE, Params, load_params
from cac.paths import DATA_DVC, DECISION, DVC_LOCK, SCRATCH, STAGES
from cac.registry.gate import Decision
from cac.registry.overrides import open_veto_window
from cac.registry.versions import CHAMPION
from flows.data import ensure_data
from flows.pipeline import REGISTERED_FILE, as_flow_state, promote, register, run_stage
from flows.support.artifacts import challenger_and_references, show_dataset_diff, show_versions
from flows.support.detached_output import ignore_broken_output
from flows.support.dvc_sharing import default_remote
from flows.support.environment import prepare, stay_offline
from flows.support.git_worktree import (
    RetrainingWorktree,
    is_retrained,
    open_retraining_worktree,
    resolve_commit,
    results_branch,
    run_git_as_retraining,
)
from flows.support.run_context import run_context
from flows.support.run_lock import run_lock
from flows.support.s3_hints import with_s3_hints
from flows.support.subprocesses import RUNNER

LOCK = SCRATCH / "retraining.lock"
EVENTS = "cac.retraining"
NOTHING_NEW, PROMOTED, REFUSED = "NothingNew", "Promoted", "Refused"
_LONGEST_WINDOW = 7 * 24 * 3600
_LONGEST_STAGE = 28 * 24 * 3600
_DELAYS = [2.0, 5.0, 15.0]  # seconds between the tries of a transfer


class Settings(BaseModel):
    """How to retrain.

    Attributes:
        veto_seconds: how long a registered version waits for `cac veto` before the gate.
        stage_seconds: time limit of a stage, which is then stopped; None for no limit.
        push: whether the stages' outputs are pushed to the default DVC remote before the commit.
        git_remote: the git remote to fetch commits from and push the results' branch to; None for neither.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    veto_seconds: Annotated[int, Field(ge=0, le=_LONGEST_WINDOW)] = 0
    stage_seconds: Annotated[int, Field(ge=1, le=_LONGEST_STAGE)] | None = None
    push: bool = True
    git_remote: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w./-]*$")] | None = None


DEFAULTS = Settings()


@flow(name="retraining", persist_result=False, log_prints=True)
def retraining(revision: str = "main", reason: str = "by hand", settings: Settings = DEFAULTS) -> State:
    """Retrain the commit that `revision` names now, if anything has changed, in a worktree of the current checkout.

    Args:
        revision: a branch, tag or hash of git.
        reason: why it runs, for the log.
        settings: how to retrain.
    """
    project = Path.cwd()
    prepare(project)
    ignore_broken_output()
    get_run_logger().info("retraining of %s, reason: %s", revision, reason)
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
        run_git_as_retraining(project, "fetch", "--quiet", settings.git_remote)
    commit = resolve_commit(project, revision)
    branch = results_branch(project, commit)
    if is_retrained(project, branch):
        return _nothing_new(f"{revision} ({commit[:8]}) was retrained before: the results are on {branch}")
    if settings.push and default_remote(project) is None:
        raise CacError(
            f"{project} has no default DVC remote, so the results cannot be shared. Add one with "
            "`dvc remote add --default`, or set `push: false`."
        )
    worktree = open_retraining_worktree(project, commit, branch)
    with worktree.entered():
        state = _work(worktree, settings)
    if not state.is_completed():
        return as_flow_state(state)
    worktree.close()
    return state


def _work(worktree: RetrainingWorktree, settings: Settings) -> State:
    """Do all steps in the worktree, which is the current folder."""
    stale = first_stale_stage()
    if stale is None and not worktree.has_progress:
        return _nothing_new(f"every stage of {worktree.commit[:8]} is up to date with its data, settings and code")
    get_run_logger().info("to do: %s", f"{stale} and all later steps" if stale else "the steps after the stages")
    if load_params(PARAMS_FILE).model.base == "nano":
        stay_offline()
    with run_context(worktree.path):
        return _retrain_in(worktree, settings)


def _retrain_in(worktree: RetrainingWorktree, settings: Settings) -> State:
    fetch(default_remote(worktree.project) is not None)
    ensure_data(Path.cwd())
    _show_new_data(worktree)
    state = _run_stages(settings.stage_seconds)
    if not state.is_completed():
        return state
    if settings.push:
        push_results()
    commit = worktree.commit_results()
    if settings.git_remote:
        worktree.git_in_project("push", "--quiet", settings.git_remote, f"refs/heads/{worktree.branch}")
    get_run_logger().info("the results are commit %s on %s", commit, worktree.branch)
    state = register(return_state=True)
    return _decide(worktree, settings) if state.is_completed() else state


def first_stale_stage() -> str | None:
    """Return the first stage of the current folder that is out of date; None if all are up to date.

    Data and models may be missing: hashes are compared. DVC stops at a stale stage with missing inputs, so its exit
    code is ignored; real errors show when the stages run.
    """
    command = (sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--dry", "--allow-missing")
    output = RUNNER.run(command, lambda line: None, Path.cwd()).tail
    return next((stage for stage in STAGES if f"Stage '{stage}' didn't change, skipping" not in output), None)


@task(cache_policy=NO_CACHE, persist_result=False, retries=len(_DELAYS), retry_delay_seconds=_DELAYS)
def fetch(from_remote: bool) -> None:
    """Fetch the dataset and the outputs of up-to-date stages from the cache or else the remote.

    Skips what is in neither: stale stages write their outputs again, and `ensure_data` checks the dataset.
    """
    _dvc(("pull" if from_remote else "checkout", "--allow-missing", "--force"))


@task(cache_policy=NO_CACHE, persist_result=False, retries=len(_DELAYS), retry_delay_seconds=_DELAYS)
def push_results() -> None:
    """Push the dataset and the stages' outputs to the default remote."""
    _dvc(("push",))


def _dvc(command: tuple[str, ...]) -> None:
    """Run a DVC command; without `--quiet`, which would hide the reason of a failure."""
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
    """Hold a slot of the server's concurrency limit; a failure to renew it does not stop the run."""
    try:
        with concurrency(limit, strict=True, raise_on_lease_renewal_failure=False):
            yield
    except ConcurrencySlotAcquisitionError as error:
        raise CacError(
            f"Prefect's server gives no slot of the limit {limit!r}: {error}. Create it: python -m infra.automations"
        ) from error


def _decide(worktree: RetrainingWorktree, settings: Settings) -> State:
    """Wait for a veto, run the gate on the registered version, and report the outcome."""
    registered = json.loads(REGISTERED_FILE.read_text(encoding="utf-8"))
    params = load_params(PARAMS_FILE)
    candidates = _show_candidates(params, registered["version"])
    if not candidates.is_decided:
        _wait_for_veto(params, candidates, settings.veto_seconds)
    with _slot("promotion"):
        state = promote(remeasure=candidates.on_other_clips, return_state=True)
    if not state.is_completed():
        return state
    decision = Decision.from_dict(json.loads(DECISION.read_text(encoding="utf-8")))
    text = f"{decision.model_name} version {decision.version} {decision.outcome}"
    text += "" if decision.passed else f", the champion stays: {decision.reasons()}"
    _show_outcome(worktree, text)
    name = PROMOTED if decision.passed else REFUSED
    _emit(name.lower(), text, version=decision.version, branch=worktree.branch)
    return Completed(name=name, message=text)


@dataclass(frozen=True)
class Candidates:
    """A registered version, the challenger, and the champion, by number; `champion` is None if there is none.

    Attributes:
        on_other_clips: whether the champion or the best version was evaluated on other clips than the challenger.
    """

    challenger: str
    champion: str | None
    on_other_clips: bool

    @property
    def is_decided(self) -> bool:
        """Whether the challenger is the champion already, so a veto has no effect."""
        return self.challenger == self.champion


def _show_candidates(params: Params, challenger: str) -> Candidates:
    """Show a registered version beside the champion and the best version, and return what it stands against."""
    new, references = challenger_and_references(params, challenger)
    show_versions(params, new, references)
    champion = references[CHAMPION].version if CHAMPION in references else None
    on_other_clips = any(one.evaluation_set != new.evaluation_set for one in references.values())
    return Candidates(challenger, champion, on_other_clips)


def _show_new_data(worktree: RetrainingWorktree) -> None:
    """Show how the commit's dataset differs from the one in its dvc.lock."""
    project, commit = worktree.project, worktree.commit
    lock, pointer = (read_git(project, "show", f"{commit}:{path}") for path in (DVC_LOCK, DATA_DVC))
    show_dataset_diff(project, lock, pointer or "", commit, commit)


def _show_outcome(worktree: RetrainingWorktree, outcome: str) -> None:
    """Show the outcome of a retraining and where its results are."""
    text = (
        f"{outcome}.\n\nTrained: commit `{worktree.commit}`. Results: `{worktree.head}` on the branch "
        f"`{worktree.branch}`.\n\nTo merge them into the current folder: `git merge {worktree.branch} && dvc pull`"
    )
    create_markdown_artifact(text, key="retraining", description="Outcome of the retraining")


def _wait_for_veto(params: Params, candidates: Candidates, seconds: int) -> None:
    open_veto_window(params, candidates.challenger, seconds)
    text = f"version {candidates.challenger} is registered. The gate runs in {seconds} s. To veto the version: "
    text += f"cac veto --version {candidates.challenger} --reason TEXT"
    get_run_logger().info(text)
    _emit("registered", text, version=candidates.challenger)
    time.sleep(seconds)


def _nothing_new(reason: str) -> State:
    get_run_logger().info("nothing to do: %s", reason)
    return Completed(name=NOTHING_NEW, message=reason)


def _emit(event: str, text: str, **facts: str) -> None:
    """Emit an event that automations can turn into a message."""
    emit_event(f"{EVENTS}.{event}", resource={"prefect.resource.id": EVENTS}, payload={"message": text, **facts})
