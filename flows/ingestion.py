"""Ingestion as a Prefect flow: deliveries in a landing place become a version of the data, and an event tells of it.

One task a delivery and one for the event, none of them cached or retried: calls to S3 are tried again where they are
made, and what was interrupted goes on with the next run. A delivery that fails does not keep the others out. The event
is sent at least once and with an id that follows from the commit, so that one that comes twice can be known.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Cancelled, Completed, Failed, State
from prefect.utilities.annotations import quote

from cac.data.ingest.deliveries import Delivery
from cac.data.ingest.quarantine import Row
from cac.data.versions.diff import VersionDiff
from cac.data.versions.groups import SplitRatios
from cac.errors import CacError
from cac.io.s3 import Bucket
from cac.paths import SCRATCH
from flows.ingest_steps import Ingestion, Taken, remember, take_in, unannounced, waiting
from flows.support.data_worktree import open_checkout
from flows.support.events import TriggerEvent, send_event
from flows.support.run_lock import run_lock
from flows.support.subprocesses import RUNNER

EVENT = "cac.dataset.version-added"
RESOURCE = "cac.dataset"
DEFAULT_BRANCH = "ingested"
_MOST_ROWS = 1000  # of an artifact's table


@flow(name="ingestion", persist_result=False)
def ingestion(
    landing: str,
    branch: str = DEFAULT_BRANCH,
    val_ratio: float | None = None,
    test_ratio: float | None = None,
    tell: bool = True,
) -> State:
    """Take in every delivery at `landing` (`s3://BUCKET/FOLDER`), each as a version on `branch` of the project here.

    Shares are of the groups of new clips that go to val and test; without them the dataset's card says. Without `tell`
    the event waits for a run that has it.
    """
    try:
        with _opened(landing, branch, _shares(val_ratio, test_ratio)) as work:
            return _run(work, tell)
    except CacError as error:
        return Failed(message=str(error))
    except KeyboardInterrupt:
        return Cancelled(message="interrupted; the next run goes on")


def _shares(val: float | None, test: float | None) -> SplitRatios | None:
    if (val is None) != (test is None):
        raise CacError("val_ratio and test_ratio go together. Give both, or none to keep those of the dataset's card.")
    return None if val is None or test is None else SplitRatios(val, test)


@contextmanager
def _opened(landing: str, branch: str, shares: SplitRatios | None) -> Iterator[Ingestion]:
    """Yield what a run works with, while no other ingestion works in this project."""
    root, scratch = Path.cwd(), Path.cwd() / SCRATCH / "ingestion"
    say = get_run_logger().info
    with run_lock(scratch / "lock") as lock:
        RUNNER.lock = lock
        try:
            bucket = Bucket(landing, tick=_tick)
            bucket.folders()  # before anything is made: are address and keys right?
            yield Ingestion(bucket, open_checkout(root, scratch, branch, say), scratch, shares, say)
        finally:
            RUNNER.lock = None


def _tick() -> None:
    if RUNNER.interrupted:
        raise KeyboardInterrupt


def _run(work: Ingestion, tell: bool) -> State:
    found = waiting(work)  # `quote` keeps Prefect from looking for futures in all that a delivery holds
    states = []
    for delivery in found:
        _tick()
        named = take.with_options(task_run_name=f"take in {delivery.name}")
        states.append(named(quote(work), quote(delivery), return_state=True))
        if states[-1].is_cancelled():
            return states[-1]
    told = announce(quote(work), tell, return_state=True)
    failed = [state for state in (*states, told) if not state.is_completed()]
    if failed:
        return Failed(message="\n".join(str(state.message) for state in failed))
    return Completed(message=str(told.message) if found else f"nothing new in {work.bucket.url()}; {told.message}")


@task(cache_policy=NO_CACHE, persist_result=False)
def take(work: Ingestion, delivery: Delivery) -> State:
    """Take one delivery in and show what was refused."""
    try:
        taken = take_in(work, delivery)
    except CacError as error:
        return Failed(message=f"{delivery.name}: {error}")
    except KeyboardInterrupt:
        return Cancelled(message=f"{delivery.name}: interrupted; the next run goes on")
    _show_taken(taken)
    outcome = f"came in as {taken.revision[:8]}" if taken.revision else "brought nothing new"
    return Completed(message=f"{delivery.name}: {outcome}")


def _show_taken(taken: Taken) -> None:
    key = f"quarantined-{''.join(c if c.isalnum() else '-' for c in taken.name.lower())}"
    if taken.refused:
        rows = _cut(taken.refused)
        create_table_artifact(rows, key=key, description=f"What {taken.name} brought and may not join the dataset")
    if taken.docs:
        key = key.replace("quarantined", "checks", 1)
        create_link_artifact(taken.docs.as_uri(), key=key, link_text=f"Data checks of {taken.name}")


@task(task_run_name="announce", cache_policy=NO_CACHE, persist_result=False)
def announce(work: Ingestion, tell: bool) -> State:
    """Tell Prefect of the newest version, unless it was told already; retraining listens to this event."""
    try:
        told = unannounced(work)
        if told is None:
            return Completed(message="no new version")
        show_comparison(told.comparison)
        if tell:
            send_event(TriggerEvent(EVENT, RESOURCE, told.branch, told.revision, told.payload()))
            remember(work, told)
    except CacError as error:
        return Failed(message=str(error))
    untold = "" if tell else "; the event waits for a run with a Prefect server (PREFECT_API_URL)"
    return Completed(message=f"the branch {told.branch} is now {told.revision[:8]}{untold}")


def show_comparison(found: VersionDiff) -> None:
    """Make an artifact of what changed, a row a clip."""
    rows = [_diff_row(one.clip_id, "added", f"{one.split}, {', '.join(one.leaves) or 'clean'}") for one in found.added]
    rows += [_diff_row(one.clip_id, "removed", one.split) for one in found.removed]
    rows += [_diff_row(one.clip_id, "replaced", ", ".join(one.changes)) for one in found.replaced]
    rows += [_diff_row(one.clip_id, "relabelled", ", ".join(one.changes)) for one in found.relabelled]
    said = f"From {found.before} to {found.after}: {len(found.added)} clips added, {len(found.removed)} removed, "
    said += f"{len(found.replaced)} replaced, {len(found.relabelled)} relabelled, {found.unchanged} unchanged"
    create_table_artifact(_cut(rows), key="dataset-diff", description=said)


def _diff_row(clip: str, change: str, what: str) -> Row:
    return {"clip": clip, "change": change, "what": what}


def _cut(rows: list[Row]) -> list[Row]:
    """Return the first rows, and how many more there are."""
    if len(rows) <= _MOST_ROWS:
        return rows
    return [*rows[:_MOST_ROWS], {next(iter(rows[0])): f"and {len(rows) - _MOST_ROWS} more"}]
