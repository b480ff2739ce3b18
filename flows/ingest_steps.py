"""From a landing place to a new version of the data, step by step; each step may be the last before the power fails.

A delivery is fetched, judged, what is refused goes to quarantine, the rest is merged, named and pushed by DVC,
committed, and only then receipted. Whatever was begun before is done again from the start, but for what has its own
memory: fetched files, DVC's objects, the commit, which names the delivery and its content. So a second time changes
nothing. Left out: Prefect (`ingestion.py`).
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
from cac.schema.annotations import read_clips
from flows.support.data_worktree import Checkout

ANNOUNCED = "_announced.json"
TRAILER = "CaC-Delivery: "


@dataclass(frozen=True)
class Ingestion:
    """What a run works with.

    Attributes:
        bucket: the landing place.
        checkout: where the new version is made.
        scratch: where deliveries are fetched to.
        shares: of the groups of new clips that go to val and test; None for what the dataset's card says.
        say: is told what happens.
    """

    bucket: Bucket
    checkout: Checkout
    scratch: Path
    shares: SplitRatios | None
    say: Callable[[str], None]


@dataclass(frozen=True)
class Taken:
    """What became of a delivery: the commit it came in with, None if it brought nothing new, and what was refused."""

    name: str
    revision: str | None
    refused: list[Row]
    docs: Path | None


@dataclass(frozen=True)
class Announcement:
    """A version that nobody was told of yet: its commit, the one before, what changed, and what it was delivered as."""

    branch: str
    revision: str
    previous: str
    comparison: VersionDiff
    deliveries: tuple[str, ...]

    def payload(self) -> dict[str, object]:
        """Return what the event carries."""
        kinds = ("added", "removed", "replaced", "relabelled")
        clips = {kind: len(getattr(self.comparison, kind)) for kind in kinds}
        return {
            "branch": self.branch,
            "revision": self.revision,
            "previous": self.previous,
            "clips": clips | {"unchanged": self.comparison.unchanged},
            "deliveries": list(self.deliveries),
        }


def waiting(ingestion: Ingestion) -> list[Delivery]:
    """Return the deliveries that are complete and not taken in, and say of the others why not.

    Raises:
        CacError: the landing place cannot be read.
    """
    bucket, say = ingestion.bucket, ingestion.say
    landing = list_deliveries(bucket)
    for name in landing.unrecognised:
        say(f"{name!r} in {bucket.url()} is no delivery: a delivery is a folder named by letters, digits, dots, dashes")
    found = []
    for each in landing.deliveries:
        if not each.is_complete:
            say(f"{each.name}: not complete yet, its marker is not there")
        elif is_ingested(bucket, each):
            say(f"{each.name}: taken in before")
            shutil.rmtree(_folder(ingestion, each), ignore_errors=True)  # of a run killed after the receipt
        else:
            found.append(each)
    return found


def take_in(ingestion: Ingestion, delivery: Delivery) -> Taken:
    """Take one delivery in; one that was committed before is only receipted.

    Raises:
        CacError: a step failed; what was done so far is gone on with the next time.
        KeyboardInterrupt: a signal asked the run to end.
    """
    docs = None
    folder = _folder(ingestion, delivery)
    revision = committed(ingestion, delivery)
    if revision:
        ingestion.say(f"{delivery.name}: was committed before, as {revision[:8]}")
    else:
        fetch_delivery(ingestion.bucket, delivery, folder)
        screening = check(ingestion, delivery, folder)
        docs = _docs(ingestion, delivery)
        if screening.new:
            merge(ingestion, delivery, screening, folder)
            ingestion.checkout.add_data()
            revision = commit(ingestion, delivery, screening)
        ingestion.say(f"{delivery.name}: {_outcome(screening)}")
    receipt(ingestion, delivery, revision)
    shutil.rmtree(folder, ignore_errors=True)
    return Taken(delivery.name, revision, list_quarantine(ingestion.bucket, delivery.name), docs)


def committed(ingestion: Ingestion, delivery: Delivery) -> str | None:
    """Return the commit that this content of the delivery came in with, if there is one."""
    return next(iter(ingestion.checkout.commits(_trailer(delivery))), None)


def check(ingestion: Ingestion, delivery: Delivery, folder: Path) -> Screening:
    """Judge what was fetched against the newest version of the data; what is refused goes to quarantine."""
    checkout = ingestion.checkout
    checkout.bring_data()
    rules = ScreeningRules(load_params(checkout.place / "params.yaml").validation, _shares(ingestion))
    screening = screen_delivery(folder, read_clips(checkout.data), rules, _checks(ingestion, delivery))
    quarantine(ingestion.bucket, delivery, screening, folder)
    return screening


def merge(ingestion: Ingestion, delivery: Delivery, screening: Screening, folder: Path) -> None:
    """Merge what was accepted into the dataset of the checkout; the card keeps the shares."""
    accepted, data = ingestion.scratch / "accepted" / delivery.name, ingestion.checkout.data
    shares = _shares(ingestion)
    write_accepted(screening, folder, accepted)
    merge_datasets([data, accepted], data)
    write_card(data, read_card(data) | {"splits": shares.to_dict()})
    shutil.rmtree(accepted)


def commit(ingestion: Ingestion, delivery: Delivery, screening: Screening) -> str:
    """Commit the new version and return the commit, which says what was delivered."""
    return ingestion.checkout.commit(f"Data: {screening.new} clips of {delivery.name}\n\n{_trailer(delivery)}")


def receipt(ingestion: Ingestion, delivery: Delivery, revision: str | None) -> None:
    """Mark the delivery as taken in."""
    write_receipt(ingestion.bucket, delivery, {"branch": ingestion.checkout.branch, "revision": revision})


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
        return f"all of it is in quarantine: {screening.unreadable}"
    there = len(screening.accepted) - screening.new
    return f"{screening.new} clips added, {there} were there already, {len(screening.rejected)} in quarantine"


def _shares(ingestion: Ingestion) -> SplitRatios:
    """Return the shares asked for, or else those that the dataset's card remembers."""
    if ratios := ingestion.shares or recorded_ratios(read_card(ingestion.checkout.data)):
        return ratios
    raise CacError(
        "the dataset's card does not say which share of new clips goes to val and test. "
        "Give --val-ratio and --test-ratio this once; the card keeps them."
    )


def unannounced(ingestion: Ingestion) -> Announcement | None:
    """Return the newest version that was delivered, if nobody was told of it yet.

    Raises:
        CacError: the bucket or one of the two versions cannot be read.
    """
    checkout = ingestion.checkout
    made = checkout.commits(TRAILER)
    last = _announced(ingestion).get(checkout.branch)
    if not made or made[0] == last:
        return None
    new = made[: made.index(last)] if last in made else made
    previous = last if last in made else checkout.parent(made[-1])
    data = checkout.root / "data"
    return Announcement(
        branch=checkout.branch,
        revision=made[0],
        previous=previous,
        comparison=diff_versions(read_version(previous, data), read_version(made[0], data)),
        deliveries=tuple(_delivered(checkout.message(each)) for each in reversed(new)),
    )


def _delivered(message: str) -> str:
    """Return the name of the delivery that a commit's message tells of."""
    line = next(line for line in message.splitlines() if line.startswith(TRAILER))
    return line.removeprefix(TRAILER).split()[0]


def remember(ingestion: Ingestion, told: Announcement) -> None:
    """Write down that the version was announced."""
    content = _announced(ingestion) | {told.branch: told.revision}
    ingestion.bucket.write(ANNOUNCED, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def _announced(ingestion: Ingestion) -> dict[str, str]:
    try:
        content = json.loads(ingestion.bucket.read(ANNOUNCED, MAX_BYTES) or b"{}")
    except ValueError as error:
        raise CacError(
            f"{ingestion.bucket.url(ANNOUNCED)} is not JSON. Delete it; the last version is announced again."
        ) from error
    return content
