"""Drift checks stored in MLflow: one run each, with the report, the picture, the clips, and tags.

Tags hold what other code searches for: the outcome, which clips were judged, whether an alarm was sent, whether a
person accepted the clips as the new reference. Tags are written after the files, so a run with tags is complete.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.monitoring.clips import ScoredClip, read_lines, write_lines
from cac.monitoring.report import DriftReport
from cac.params import Params
from cac.tracking.mlflow_runs import connect, experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

STAGE = "monitoring"
DRIFT, NO_DRIFT, TOO_FEW, KNOWN = "drift", "no drift", "too few clips", "known"
REPORT, PICTURE, CLIPS = "report.json", "drift.png", "clips.jsonl"

OUTCOME_TAG = "monitoring.outcome"
SOURCE_TAG = "monitoring.place"
VERSION_TAG = "monitoring.model_version"
CLIPS_TAG = "monitoring.clips"
DRIFTED_TAG = "monitoring.drifted"
LISTING_TAG = "monitoring.listing"
ANNOUNCED_TAG = "monitoring.announced"
ACCEPTED_TAG = "monitoring.accepted"
ACCEPTED_AT_TAG = "monitoring.accepted_at"  # ISO 8601, UTC
_SEARCH_LIMIT = 1000  # runs
_RECENT = 50  # runs searched for the last check that compared anything


@dataclass(frozen=True)
class Record:
    """One stored drift check.

    Attributes:
        run_id: the MLflow run.
        at: when it started (ISO 8601, UTC).
        source: the folder or S3 prefix of the clips.
        model_version: of the champion that scored them.
        clips: number of clips compared.
        outcome: DRIFT, NO_DRIFT, TOO_FEW or KNOWN.
        drifted: the measures that drifted.
        announced: whether its alarm was sent.
        accepted: whether a person accepted these clips as the reference.
        accepted_at: when (ISO 8601, UTC); None if not accepted.
    """

    run_id: str
    at: str
    source: str
    model_version: str
    clips: int
    outcome: str
    drifted: tuple[str, ...]
    announced: bool
    accepted: bool
    accepted_at: str | None


def find_records(
    client: "MlflowClient", params: Params, tags: Mapping[str, str] | None = None, limit: int = _SEARCH_LIMIT
) -> list[Record]:
    """Return the drift checks with these tags, newest first."""
    experiment = client.get_experiment_by_name(params.registry.experiment)
    if experiment is None:
        return []
    wanted = {"stage": STAGE, **(tags or {})}
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in wanted.items())
    found = client.search_runs([experiment.experiment_id], query, order_by=["start_time DESC"], max_results=limit)
    return [_record(run) for run in found if OUTCOME_TAG in run.data.tags]


def last_record(params: Params) -> Record | None:
    """Return the last check that compared anything, or else the last one; None if there is none."""
    found = find_records(connect(), params, limit=_RECENT)
    judged = (one for one in found if one.outcome in (DRIFT, NO_DRIFT))
    return next(judged, found[0] if found else None)


def last_accepted(client: "MlflowClient", params: Params, version: str) -> Record | None:
    """Return the check of this version that a person accepted last; None if there is none."""
    found = find_records(client, params, {VERSION_TAG: version, ACCEPTED_TAG: "true"})
    return max(found, key=lambda one: one.accepted_at or one.at, default=None)


def _record(run: "Run") -> Record:
    tags = run.data.tags
    return Record(
        run_id=run.info.run_id,
        at=datetime.fromtimestamp(run.info.start_time / 1000, UTC).isoformat(timespec="seconds"),
        source=tags[SOURCE_TAG],
        model_version=tags[VERSION_TAG],
        clips=int(tags[CLIPS_TAG]),
        outcome=tags[OUTCOME_TAG],
        drifted=tuple(json.loads(tags[DRIFTED_TAG])),
        announced=tags.get(ANNOUNCED_TAG) == "true",
        accepted=tags.get(ACCEPTED_TAG) == "true",
        accepted_at=tags.get(ACCEPTED_AT_TAG),
    )


def save_record(
    params: Params, report: DriftReport, clips: Sequence[ScoredClip], reference: Sequence[ScoredClip], work: Path
) -> str:
    """Store a drift check as an MLflow run and return its id; `work` is a scratch folder for the files."""
    import mlflow

    from cac.monitoring.plot import draw

    client = connect()
    (work / REPORT).write_text(json.dumps(report.model_dump(), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (work / CLIPS).write_text(write_lines(clips), encoding="utf-8")
    if reference:
        draw(report, reference, clips, work / PICTURE)
    tags = {
        SOURCE_TAG: report.source,
        VERSION_TAG: report.version,
        LISTING_TAG: report.listing,
        CLIPS_TAG: str(report.clips),
        DRIFTED_TAG: json.dumps(report.drifted),
        OUTCOME_TAG: report.outcome,
    }
    experiment = experiment_id(client, params.registry.experiment)
    with mlflow.start_run(experiment_id=experiment, run_name=STAGE, tags={"stage": STAGE}) as run:
        mlflow.log_metrics(
            {f"drift.{one.measure}": one.distance for one in report.measures if one.distance is not None}
        )
        for name in (REPORT, CLIPS, PICTURE):
            if (work / name).is_file():
                mlflow.log_artifact(str(work / name))
        mlflow.set_tags(tags)
    result: str = run.info.run_id
    return result


def load_report(client: "MlflowClient", run_id: str) -> DriftReport:
    """Return the report of a drift check."""
    return DriftReport.model_validate_json(_read(client, run_id, REPORT))


def load_clips(client: "MlflowClient", run_id: str) -> list[ScoredClip]:
    """Return the clips that were compared."""
    return read_lines(_read(client, run_id, CLIPS))


def fetch_picture(client: "MlflowClient", run_id: str, folder: Path) -> Path | None:
    """Download the picture of a drift check; None if it has none because there were too few clips."""
    if not any(artifact.path == PICTURE for artifact in client.list_artifacts(run_id)):
        return None
    return Path(client.download_artifacts(run_id, PICTURE, str(folder)))


def is_announced(run_id: str) -> bool:
    """Return whether the alarm of a drift check was sent."""
    return connect().get_run(run_id).data.tags.get(ANNOUNCED_TAG) == "true"


def mark_announced(run_id: str) -> None:
    """Record that the alarm of a drift check was sent."""
    connect().set_tag(run_id, ANNOUNCED_TAG, "true")


def accept(params: Params, run_id: str) -> Record:
    """Accept the clips of a drift check as the new reference, and return its record.

    Raises:
        CacError: there is no such check, or it compared no clips.
    """
    client = connect()
    found = next((one for one in find_records(client, params) if one.run_id == run_id), None)
    if found is None:
        raise CacError(f"run {run_id} is not a drift check. Give the run id that `cac drift check` printed.")
    if found.outcome not in (DRIFT, NO_DRIFT):
        raise CacError(f"drift check {run_id} compared nothing ({found.outcome}). Accept a check that compared clips.")
    client.set_tag(run_id, ACCEPTED_AT_TAG, datetime.now(UTC).isoformat())
    client.set_tag(run_id, ACCEPTED_TAG, "true")
    return found


def _read(client: "MlflowClient", run_id: str, name: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        with TemporaryDirectory(prefix="cac-monitoring-") as scratch:
            return Path(client.download_artifacts(run_id, name, scratch)).read_text(encoding="utf-8")
    except (MlflowException, OSError) as error:
        raise CacError(f"cannot read {name} of MLflow run {run_id}: {error}. Restore it from a backup.") from error
