"""One drift check: score the clips of a source with the champion, compare them with the reference, store the result.

Clips that an alarm was already sent about are skipped in later checks of the same version. A check of the same files
with the same thresholds and reference is not repeated. An interrupted check resumes, as batch scoring does. Sending
the alarm is the flow's task (`flows/monitoring.py`).
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cac.batch.listing import ListedVideo, open_source, sample
from cac.batch.plan import BatchSettings
from cac.batch.run import score_batch
from cac.errors import CacError
from cac.monitoring.clips import ScoredClip, clips_from_table, with_duration_and_motion
from cac.monitoring.drift import DriftResult, compare
from cac.monitoring.records import (
    ANNOUNCED_TAG,
    DRIFT,
    KNOWN,
    LISTING_TAG,
    NO_DRIFT,
    TOO_FEW,
    VERSION_TAG,
    find_records,
    last_accepted,
    load_clips,
    load_report,
    save_record,
)
from cac.monitoring.reference import Reference, find_reference
from cac.monitoring.report import DriftCheck, DriftReport
from cac.params import Monitoring, Params
from cac.tracking.mlflow_runs import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class _Input:
    """What one check compares: the source as given, the model version, and the hash that identifies the check."""

    source: str
    model: str
    listing: str

    @property
    def version(self) -> str:
        return self.model.rpartition("/")[2]


def check_drift(root: Path, params: Params, source: str, scratch: Path) -> DriftCheck:
    """Compare the clips below `source` with the reference of the champion, and store the result in MLflow.

    Args:
        root: the project; its `data/` is only read.
        params: the settings; `monitoring` holds the limits and thresholds.
        source: a folder, or `s3://bucket/prefix`.
        scratch: where scores are kept until they are in MLflow.

    Raises:
        CacError: there are no videos, no champion, no reference, or a store does not answer.
    """
    from cac.registry.model_uri import champion_uri, resolve_version

    opened = open_source(source)
    client, name = connect(), params.registry.model_name
    model = resolve_version(champion_uri(name))
    listed = sample(opened.videos(), params.monitoring.max_clips)
    if not listed:
        raise CacError(f"no videos below {source}. Give a folder of videos, or s3://bucket/prefix.")
    accepted = last_accepted(client, params, model.rpartition("/")[2])
    checked = _Input(source, model, _listing(model, listed, params.monitoring, accepted.run_id if accepted else None))
    if earlier := _earlier_check(client, params, checked.listing):
        return earlier
    work, settings = scratch / checked.listing[:16], BatchSettings()
    score_batch(source, work / "clips.parquet", model, settings, most=params.monitoring.max_clips)
    clips = with_duration_and_motion(clips_from_table(work / "clips.parquet"), opened, listed, settings)
    new = _without_alarm(client, params, checked.version, clips)
    reference = None
    if len(new) >= params.monitoring.min_clips:
        reference = find_reference(client, client.get_model_version(name, checked.version), accepted, root)
    report = _report(checked, clips, new, reference, params.monitoring)
    run_id = save_record(params, report, new, reference.clips if reference else (), work)
    shutil.rmtree(work)
    return DriftCheck(report=report, run_id=run_id, new=True)


def _listing(model: str, videos: Sequence[ListedVideo], settings: Monitoring, accepted: str | None) -> str:
    """Return a hash of everything the result depends on: files, version, thresholds and accepted reference."""
    rows = [asdict(video) for video in videos]
    facts = [model, rows, settings.max_drift, settings.significance, accepted]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _earlier_check(client: "MlflowClient", params: Params, listing: str) -> DriftCheck | None:
    """Return an earlier check of the same input; one with too few clips does not count, as `min_clips` may differ."""
    for record in find_records(client, params, {LISTING_TAG: listing}, limit=10):
        if record.outcome != TOO_FEW:
            return DriftCheck(report=load_report(client, record.run_id), run_id=record.run_id, new=False)
    return None


def _without_alarm(
    client: "MlflowClient", params: Params, version: str, clips: Sequence[ScoredClip]
) -> list[ScoredClip]:
    """Return the clips that no alarm was sent about."""
    alarms = find_records(client, params, {VERSION_TAG: version, ANNOUNCED_TAG: "true"})
    alarmed = {clip.sha256 for alarm in alarms for clip in load_clips(client, alarm.run_id)}
    return [clip for clip in clips if clip.sha256 is None or clip.sha256 not in alarmed]


def _report(
    checked: _Input,
    clips: Sequence[ScoredClip],
    new: Sequence[ScoredClip],
    reference: Reference | None,
    settings: Monitoring,
) -> DriftReport:
    measures: tuple[DriftResult, ...] = ()
    if reference is None:
        outcome = TOO_FEW if len(clips) < settings.min_clips else KNOWN
    else:
        measures = tuple(compare(reference.clips, new, settings))
        outcome = DRIFT if any(result.drifted for result in measures) else NO_DRIFT
    return DriftReport(
        source=checked.source,
        model=checked.model,
        reference=reference.name if reference else None,
        clips=len(new),
        already_alarmed=len(clips) - len(new),
        listing=checked.listing,
        outcome=outcome,
        measures=measures,
    )
