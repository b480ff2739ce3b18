"""From deliveries in S3 to a new version of the data, step by step. A run may be killed after any step.

A delivery is fetched and screened; rejected clips go to quarantine. The other clips are merged into the dataset, which
DVC adds and pushes; then the version is committed, and only then the receipt is written. The next run repeats an
unfinished delivery from the start, but fetched files, DVC's objects and the commit, which names the delivery and its
content, are reused, so nothing happens twice. The Prefect flow is `ingestion.py`.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cac.data.ingest.deliveries import MAX_BYTES, Delivery, fetch_delivery, is_ingested, list_deliveries, write_receipt
from cac.data.ingest.quarantine import Row, list_quarantine, quarantine
from cac.data.ingest.screening import Screening, ScreeningRules, screen_delivery, write_accepted
from cac.data.validation.validate import DOCS_NAME
from cac.data.versions.cards import read_card, write_card
from cac.data.versions.diff import VersionDiff, diff_versions
from cac.data.versions.groups import SplitRatios, recorded_ratios
from cac.data.versions.merge import merge_datasets
from cac.data.versions.revisions import read_version
from cac.errors import CacError
from cac.io.s3 import Bucket
from cac.params import load_params
from cac.paths import DATASET
from cac.schema.annotations import read_clips
from flows.support.git_worktree import DataWorktree

ANNOUNCED = "_announced.json"
TRAILER = "CaC-Delivery: "


@dataclass(frozen=True)
class Ingestion:
    """What a run works with.

    Attributes:
        bucket: where deliveries arrive.
        worktree: where the new version is made.
        scratch: the folder for fetched deliveries.
        shares: of the groups of new clips that go to val and test; None for those of the dataset's card.
        log: gets a line about each event.
    """

    bucket: Bucket
    worktree: DataWorktree
    scratch: Path
    shares: SplitRatios | None
    log: Callable[[str], None]


@dataclass(frozen=True)
class IngestedDelivery:
    """The result of a delivery: its commit, None if it had nothing new, and the quarantined clips."""

    name: str
    revision: str | None
    refused: list[Row]
    docs: Path | None


@dataclass(frozen=True)
class Announcement:
    """A version without an event yet: its commit, the previous version, what changed, and its deliveries."""

    branch: str
    revision: str
    previous: str
    comparison: VersionDiff
    deliveries: tuple[str, ...]

    def payload(self) -> dict[str, object]:
        """Return the payload of the event."""
        kinds = ("added", "removed", "replaced", "relabelled")
        clips = {kind: len(getattr(self.comparison, kind)) for kind in kinds}
        return {
            "branch": self.branch,
            "revision": self.revision,
            "previous": self.previous,
            "clips": clips | {"unchanged": self.comparison.unchanged},
            "deliveries": list(self.deliveries),
        }


def pending_deliveries(ingestion: Ingestion) -> list[Delivery]:
    """Return the complete deliveries that were not ingested yet, and log why others are skipped.

    Raises:
        CacError: the bucket cannot be read.
    """
    bucket, log = ingestion.bucket, ingestion.log
    landing = list_deliveries(bucket)
    for name in landing.unrecognised:
        log(f"skipping {name!r} in {bucket.url()}: a delivery is a folder named by letters, digits, dots, dashes")
    found = []
    for each in landing.deliveries:
        if not each.is_complete:
            log(f"{each.name}: not complete yet, its marker is missing")
        elif is_ingested(bucket, each):
            log(f"{each.name}: ingested before")
            shutil.rmtree(_folder(ingestion, each), ignore_errors=True)  # of a run killed after the receipt
        else:
            found.append(each)
    return found


def ingest_delivery(ingestion: Ingestion, delivery: Delivery) -> IngestedDelivery:
    """Ingest one delivery. If it was committed before, only write its receipt.

    Raises:
        CacError: a step failed; the next run resumes the delivery.
        KeyboardInterrupt: the run was interrupted by a signal.
    """
    docs = None
    folder = _folder(ingestion, delivery)
    revision = find_commit(ingestion, delivery)
    if revision:
        ingestion.log(f"{delivery.name}: committed before, as {revision[:8]}")
    else:
        fetch_delivery(ingestion.bucket, delivery, folder)
        screening = screen(ingestion, delivery, folder)
        docs = _docs(ingestion, delivery)
        if screening.new:
            merge_accepted(ingestion, delivery, screening, folder)
            ingestion.worktree.add_data()
            revision = commit_version(ingestion, delivery, screening)
        ingestion.log(f"{delivery.name}: {_outcome(screening)}")
    mark_ingested(ingestion, delivery, revision)
    shutil.rmtree(folder, ignore_errors=True)
    return IngestedDelivery(delivery.name, revision, list_quarantine(ingestion.bucket, delivery.name), docs)


def find_commit(ingestion: Ingestion, delivery: Delivery) -> str | None:
    """Return the commit with this content of the delivery, if there is one."""
    return next(iter(ingestion.worktree.find_commits(_trailer(delivery))), None)


def screen(ingestion: Ingestion, delivery: Delivery, folder: Path) -> Screening:
    """Screen the fetched clips against the newest version of the data; rejected clips go to quarantine."""
    worktree = ingestion.worktree
    worktree.restore_data()
    rules = ScreeningRules(load_params(worktree.path / "params.yaml").validation, _shares(ingestion))
    screening = screen_delivery(folder, read_clips(worktree.data), rules, _checks(ingestion, delivery))
    quarantine(ingestion.bucket, delivery, screening, folder)
    return screening


def merge_accepted(ingestion: Ingestion, delivery: Delivery, screening: Screening, folder: Path) -> None:
    """Merge the accepted clips into the dataset of the worktree; the dataset's card keeps the shares."""
    accepted, data = ingestion.scratch / "accepted" / delivery.name, ingestion.worktree.data
    shares = _shares(ingestion)
    write_accepted(screening, folder, accepted)
    merge_datasets([data, accepted], data)
    write_card(data, read_card(data) | {"splits": shares.to_dict()})
    shutil.rmtree(accepted)


def commit_version(ingestion: Ingestion, delivery: Delivery, screening: Screening) -> str:
    """Commit the new version, with the delivery in the message, and return the commit."""
    return ingestion.worktree.commit(f"Data: {screening.new} clips of {delivery.name}\n\n{_trailer(delivery)}")


def mark_ingested(ingestion: Ingestion, delivery: Delivery, revision: str | None) -> None:
    """Mark the delivery as ingested."""
    write_receipt(ingestion.bucket, delivery, {"branch": ingestion.worktree.branch, "revision": revision})


def _trailer(delivery: Delivery) -> str:
    return f"{TRAILER}{delivery.name} {delivery.digest}"


def _folder(ingestion: Ingestion, delivery: Delivery) -> Path:
    return ingestion.scratch / "deliveries" / delivery.name


def _checks(ingestion: Ingestion, delivery: Delivery) -> Path:
    return ingestion.scratch / "checks" / delivery.name


def _docs(ingestion: Ingestion, delivery: Delivery) -> Path | None:
    page = _checks(ingestion, delivery) / DOCS_NAME / "index.html"
    return page.resolve() if page.is_file() else None


def _outcome(screening: Screening) -> str:
    if screening.unreadable:
        return f"the whole delivery is in quarantine: {screening.unreadable}"
    there = len(screening.accepted) - screening.new
    return f"{screening.new} clips added, {there} known already, {len(screening.rejected)} in quarantine"


def _shares(ingestion: Ingestion) -> SplitRatios:
    """Return the requested shares, or else those of the dataset's card."""
    if ratios := ingestion.shares or recorded_ratios(read_card(ingestion.worktree.data)):
        return ratios
    raise CacError(
        "the dataset's card has no shares of new clips for val and test. "
        "Set --val-ratio and --test-ratio once; the card keeps them."
    )


def next_announcement(ingestion: Ingestion) -> Announcement | None:
    """Return the newest delivered version if its event was not sent yet.

    Raises:
        CacError: the bucket or one of the two versions cannot be read.
    """
    worktree = ingestion.worktree
    made = worktree.find_commits(TRAILER)
    last = _announced(ingestion).get(worktree.branch)
    if not made or made[0] == last:
        return None
    new = made[: made.index(last)] if last in made else made
    previous = last if last in made else worktree.parent(made[-1])
    data = worktree.project / DATASET
    return Announcement(
        branch=worktree.branch,
        revision=made[0],
        previous=previous,
        comparison=diff_versions(read_version(previous, data), read_version(made[0], data)),
        deliveries=tuple(_delivered(worktree.message(each)) for each in reversed(new)),
    )


def _delivered(message: str) -> str:
    """Return the delivery named in a commit's message."""
    line = next(line for line in message.splitlines() if line.startswith(TRAILER))
    return line.removeprefix(TRAILER).split()[0]


def mark_announced(ingestion: Ingestion, announcement: Announcement) -> None:
    """Record that the event of the version was sent."""
    content = _announced(ingestion) | {announcement.branch: announcement.revision}
    ingestion.bucket.write(ANNOUNCED, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def _announced(ingestion: Ingestion) -> dict[str, str]:
    try:
        content = json.loads(ingestion.bucket.read(ANNOUNCED, MAX_BYTES) or b"{}")
    except ValueError as error:
        raise CacError(
            f"{ingestion.bucket.url(ANNOUNCED)} is not JSON. Delete it; the event of the last version is sent again."
        ) from error
    result: dict[str, str] = content
    return result
