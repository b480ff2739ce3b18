"""One monitoring: score the clips of a place with the champion, compare them with the reference, write it all down.

A clip gives no two alarms of one version: those of an alarm that was sent are left out of later ones, and a place that
was judged before, with the same files, bounds and reference, is not scored again. What was cut off is gone on with, as
batch scoring does. Left out: telling anybody, which the flow does (`flows/monitoring.py`).
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cac.batch.listing import Listed, open_source, sample
from cac.batch.plan import BatchSettings
from cac.batch.run import score_batch
from cac.errors import CacError
from cac.monitoring.clips import Seen, seen_in_table, watched
from cac.monitoring.drift import compare
from cac.monitoring.records import (
    ANNOUNCED_TAG,
    DRIFT,
    KNOWN,
    LISTING_TAG,
    NO_DRIFT,
    TOO_FEW,
    VERSION_TAG,
    clips_of,
    keep,
    last_accepted,
    records,
    report_of,
)
from cac.monitoring.reference import Reference, reference_of
from cac.monitoring.report import Report
from cac.params import Monitoring, Params
from cac.tracking.mlflow_runs import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Checked:
    """A report and the MLflow run that keeps it; `new` is false if that run was there before."""

    report: Report
    run_id: str
    new: bool


def check(root: Path, params: Params, place: str, scratch: Path) -> Checked:
    """Monitor the clips below `place` and return what came of it.

    Args:
        root: the project; its `data/` is only read.
        params: the settings; `monitoring` says how many clips and how much drift.
        place: a folder, or `s3://bucket/prefix`.
        scratch: where scores are kept until they are in MLflow.

    Raises:
        CacError: there are no videos, no champion, no reference, or a store does not answer.
    """
    from cac.registry.pinned import resolve_version

    client, name = connect(), params.registry.model_name
    model = resolve_version(f"models:/{name}@champion")
    source = open_source(place)
    listed = sample(source.videos(), params.monitoring.max_clips)
    if not listed:
        raise CacError(f"no videos below {place}. Name a folder of videos, or s3://bucket/prefix.")
    accepted = last_accepted(client, params, model.rpartition("/")[2])
    listing = _listing(model, listed, params.monitoring, accepted.run_id if accepted else None)
    if known := _known(client, params, listing):
        return known
    version = client.get_model_version(name, model.rpartition("/")[2])
    work = scratch / listing[:16]
    settings = BatchSettings()
    score_batch(place, work / "clips.parquet", model, settings, most=params.monitoring.max_clips)
    clips = watched(seen_in_table(work / "clips.parquet"), source, listed, settings)
    fresh = _not_alarmed(client, params, str(version.version), clips)
    few = len(fresh) < params.monitoring.min_clips
    reference = None if few else reference_of(client, version, accepted, root)
    report = _report(place, model, listing, clips, fresh, reference, params)
    run_id = keep(params, report, fresh, reference.clips if reference else (), work)
    shutil.rmtree(work)
    return Checked(report, run_id, new=True)


def _listing(model: str, videos: Sequence[Listed], settings: Monitoring, accepted: str | None) -> str:
    """Return the name of what follows from these files: seen by this version, held to these bounds and reference."""
    rows = [asdict(video) for video in videos]
    facts = [model, rows, settings.max_drift, settings.significance, accepted]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _known(client: "MlflowClient", params: Params, listing: str) -> Checked | None:
    """Return what came of the same files before; too few clips are looked at again, as the bound may have changed."""
    for record in records(client, params, {LISTING_TAG: listing}, most=10):
        if record.outcome != TOO_FEW:
            return Checked(Report.from_dict(report_of(client, record.run_id)), record.run_id, new=False)
    return None


def _not_alarmed(client: "MlflowClient", params: Params, version: str, clips: Sequence[Seen]) -> list[Seen]:
    """Return the clips about which no alarm was sent."""
    alarms = records(client, params, {VERSION_TAG: version, ANNOUNCED_TAG: "true"})
    told = {clip.sha256 for alarm in alarms for clip in clips_of(client, alarm.run_id)}
    return [clip for clip in clips if clip.sha256 is None or clip.sha256 not in told]


def _report(
    place: str,
    model: str,
    listing: str,
    clips: Sequence[Seen],
    fresh: Sequence[Seen],
    reference: Reference | None,
    params: Params,
) -> Report:
    left_out = len(clips) - len(fresh)
    if reference is None:
        outcome = TOO_FEW if len(clips) < params.monitoring.min_clips else KNOWN
        return Report(place, model, None, len(fresh), left_out, listing, outcome, ())
    measures = tuple(compare(reference.clips, fresh, params.monitoring))
    outcome = DRIFT if any(one.drifted for one in measures) else NO_DRIFT
    return Report(place, model, reference.name, len(fresh), left_out, listing, outcome, measures)
