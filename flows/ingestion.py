"""Ingestion as a Prefect flow: deliveries in S3 become versions of the dataset, and an event announces the newest.

One task per delivery and one for the event, neither cached nor retried: calls to S3 are retried where they are made,
and the next run resumes an interrupted delivery. A failed delivery does not stop the others. The event is sent at least
once; its id follows from the commit, so a receiver can drop duplicates.
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
from flows.ingest_steps import (
    IngestedDelivery,
    Ingestion,
    ingest_delivery,
    mark_announced,
    next_announcement,
    pending_deliveries,
)
from flows.support.events import TriggerEvent, send_event
from flows.support.git_worktree import open_data_worktree
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
    send_events: bool = True,
) -> State:
    """Ingest every delivery at `landing` (`s3://BUCKET/FOLDER`), each as a version on `branch` of the current project.

    Args:
        landing: where deliveries arrive.
        branch: the git branch for the new versions.
        val_ratio: share of the groups of new clips for val; None: as in the dataset's card.
        test_ratio: share for test, likewise.
        send_events: whether to send the event; if not, a later run sends it.
    """
    try:
        with _opened(landing, branch, _shares(val_ratio, test_ratio)) as work:
            return _run(work, send_events)
    except CacError as error:
        return Failed(message=str(error))
    except KeyboardInterrupt:
        return Cancelled(message="interrupted; the next run resumes")


def _shares(val: float | None, test: float | None) -> SplitRatios | None:
    if (val is None) != (test is None):
        raise CacError("set both val_ratio and test_ratio, or neither to use those of the dataset's card.")
    return None if val is None or test is None else SplitRatios(val, test)


@contextmanager
def _opened(landing: str, branch: str, shares: SplitRatios | None) -> Iterator[Ingestion]:
    """Yield what a run works with, while no other ingestion runs in this project."""
    root, scratch = Path.cwd(), Path.cwd() / SCRATCH / "ingestion"
    log = get_run_logger().info
    with run_lock(scratch / "lock") as lock:
        RUNNER.lock = lock
        try:
            bucket = Bucket(landing, tick=_stop_if_interrupted)
            bucket.folders()  # fails early if the address or the keys are wrong
            yield Ingestion(bucket, open_data_worktree(root, scratch, branch, log), scratch, shares, log)
        finally:
            RUNNER.lock = None


def _stop_if_interrupted() -> None:
    if RUNNER.interrupted:
        raise KeyboardInterrupt


def _run(work: Ingestion, send_events: bool) -> State:
    deliveries = pending_deliveries(work)  # `quote` keeps Prefect from searching the objects for futures
    states = []
    for delivery in deliveries:
        _stop_if_interrupted()
        named = ingest.with_options(task_run_name=f"ingest {delivery.name}")
        states.append(named(quote(work), quote(delivery), return_state=True))
        if states[-1].is_cancelled():
            return states[-1]
    announced = announce(quote(work), send_events, return_state=True)
    failed = [state for state in (*states, announced) if not state.is_completed()]
    if failed:
        return Failed(message="\n".join(str(state.message) for state in failed))
    message = str(announced.message)
    return Completed(message=message if deliveries else f"nothing new in {work.bucket.url()}; {message}")


@task(cache_policy=NO_CACHE, persist_result=False)
def ingest(work: Ingestion, delivery: Delivery) -> State:
    """Ingest one delivery and show its quarantined clips."""
    try:
        ingested = ingest_delivery(work, delivery)
    except CacError as error:
        return Failed(message=f"{delivery.name}: {error}")
    except KeyboardInterrupt:
        return Cancelled(message=f"{delivery.name}: interrupted; the next run resumes")
    _show_ingested(ingested)
    outcome = f"committed as {ingested.revision[:8]}" if ingested.revision else "nothing new"
    return Completed(message=f"{delivery.name}: {outcome}")


def _show_ingested(ingested: IngestedDelivery) -> None:
    suffix = "".join(c if c.isalnum() else "-" for c in ingested.name.lower())
    if ingested.refused:
        description = f"Clips of {ingested.name} in quarantine"
        create_table_artifact(_cut(ingested.refused), key=f"quarantined-{suffix}", description=description)
    if ingested.docs:
        link_text = f"Data checks of {ingested.name}"
        create_link_artifact(ingested.docs.as_uri(), key=f"checks-{suffix}", link_text=link_text)


@task(task_run_name="announce", cache_policy=NO_CACHE, persist_result=False)
def announce(work: Ingestion, send_events: bool) -> State:
    """Send the event of the newest version, unless it was sent already; retraining listens to it."""
    try:
        new = next_announcement(work)
        if new is None:
            return Completed(message="no new version")
        show_comparison(new.comparison)
        if send_events:
            send_event(TriggerEvent(EVENT, RESOURCE, new.branch, new.revision, new.payload()))
            mark_announced(work, new)
    except CacError as error:
        return Failed(message=str(error))
    pending = "" if send_events else "; the event waits for a run with a Prefect server (PREFECT_API_URL)"
    return Completed(message=f"the branch {new.branch} is now {new.revision[:8]}{pending}")


def show_comparison(found: VersionDiff) -> None:
    """Show what changed, one row per clip."""
    rows = [_diff_row(one.clip_id, "added", f"{one.split}, {', '.join(one.leaves) or 'clean'}") for one in found.added]
    rows += [_diff_row(one.clip_id, "removed", one.split) for one in found.removed]
    rows += [_diff_row(one.clip_id, "replaced", ", ".join(one.changes)) for one in found.replaced]
    rows += [_diff_row(one.clip_id, "relabelled", ", ".join(one.changes)) for one in found.relabelled]
    description = (
        f"From {found.before} to {found.after}: {len(found.added)} clips added, {len(found.removed)} removed, "
    )
    description += f"{len(found.replaced)} replaced, {len(found.relabelled)} relabelled, "
    description += f"{found.unchanged} unchanged"
    create_table_artifact(_cut(rows), key="dataset-diff", description=description)


def _diff_row(clip: str, change: str, details: str) -> Row:
    return {"clip": clip, "change": change, "what": details}


def _cut(rows: list[Row]) -> list[Row]:
    """Return the first rows, and a row with the number of the others."""
    if len(rows) <= _MOST_ROWS:
        return rows
    return [*rows[:_MOST_ROWS], {next(iter(rows[0])): f"and {len(rows) - _MOST_ROWS} more"}]
