"""What became of each monitoring, as MLflow keeps it: a run with the report, the picture, the scores, and tags.

Tags say what others ask for: the outcome, which clips were judged, whether an alarm was sent, whether a person accepted
the clips as what production looks like. Tags are written after the files, so what a tag names is whole.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from cac.errors import CacError
from cac.monitoring.clips import Seen, from_lines, to_lines
from cac.params import Params
from cac.tracking.mlflow_runs import connect, experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from cac.monitoring.report import Report

STAGE = "monitoring"
DRIFT, NO_DRIFT, TOO_FEW, KNOWN = "drift", "no drift", "too few clips", "known"
REPORT, PICTURE, CLIPS = "report.json", "drift.png", "clips.jsonl"

OUTCOME_TAG = "monitoring.outcome"
PLACE_TAG = "monitoring.place"
VERSION_TAG = "monitoring.model_version"
CLIPS_TAG = "monitoring.clips"
DRIFTED_TAG = "monitoring.drifted"
LISTING_TAG = "monitoring.listing"
ANNOUNCED_TAG = "monitoring.announced"
ACCEPTED_TAG = "monitoring.accepted"
ACCEPTED_AT_TAG = "monitoring.accepted_at"  # ISO 8601, UTC
_MOST = 1000  # runs that are looked through
_LATELY = 50  # runs, for the last one that judged anything


@dataclass(frozen=True)
class Record:
    """One monitoring.

    Attributes:
        run_id: of MLflow.
        at: when it began (ISO 8601, UTC).
        place: where the clips were.
        model_version: of the champion that scored them.
        clips: how many were judged.
        outcome: DRIFT, NO_DRIFT, TOO_FEW or KNOWN.
        drifted: the measures that did.
        announced: whether its alarm was sent.
        accepted: whether a person takes these clips for what production looks like.
        accepted_at: since when (ISO 8601, UTC); None if nobody does.
    """

    run_id: str
    at: str
    place: str
    model_version: str
    clips: int
    outcome: str
    drifted: tuple[str, ...]
    announced: bool
    accepted: bool
    accepted_at: str | None


def records(
    client: "MlflowClient", params: Params, tags: Mapping[str, str] | None = None, most: int = _MOST
) -> list[Record]:
    """Return the monitorings with these tags, newest first; none if nothing was ever monitored."""
    experiment = client.get_experiment_by_name(params.registry.experiment)
    if experiment is None:
        return []
    wanted = {"stage": STAGE, **(tags or {})}
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in wanted.items())
    found = client.search_runs([experiment.experiment_id], query, order_by=["start_time DESC"], max_results=most)
    return [_record(run) for run in found if OUTCOME_TAG in run.data.tags]


def last_record(params: Params) -> Record | None:
    """Return the last monitoring that judged anything, else the last at all; None if there was none."""
    found = records(connect(), params, most=_LATELY)
    judged = (one for one in found if one.outcome in (DRIFT, NO_DRIFT))
    return next(judged, found[0] if found else None)


def last_accepted(client: "MlflowClient", params: Params, version: str) -> Record | None:
    """Return the monitoring of a version's answers that a person accepted last; None if there is none."""
    found = records(client, params, {VERSION_TAG: version, ACCEPTED_TAG: "true"})
    return max(found, key=lambda one: one.accepted_at or one.at, default=None)


def _record(run: "Run") -> Record:
    tags = run.data.tags
    return Record(
        run_id=run.info.run_id,
        at=datetime.fromtimestamp(run.info.start_time / 1000, UTC).isoformat(timespec="seconds"),
        place=tags[PLACE_TAG],
        model_version=tags[VERSION_TAG],
        clips=int(tags[CLIPS_TAG]),
        outcome=tags[OUTCOME_TAG],
        drifted=tuple(json.loads(tags[DRIFTED_TAG])),
        announced=tags.get(ANNOUNCED_TAG) == "true",
        accepted=tags.get(ACCEPTED_TAG) == "true",
        accepted_at=tags.get(ACCEPTED_AT_TAG),
    )


def keep(params: Params, report: "Report", clips: Sequence[Seen], reference: Sequence[Seen], work: Path) -> str:
    """Keep a monitoring as an MLflow run and return its id; `work` is a scratch folder, for the files."""
    import mlflow

    from cac.monitoring.plot import draw

    client = connect()
    (work / REPORT).write_text(json.dumps(asdict(report), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (work / CLIPS).write_text(to_lines(clips), encoding="utf-8")
    if reference:
        draw(report, reference, clips, work / PICTURE)
    tags = {
        PLACE_TAG: report.place,
        VERSION_TAG: report.version,
        LISTING_TAG: report.listing,
        CLIPS_TAG: str(report.clips),
        DRIFTED_TAG: json.dumps(report.drifted),
        OUTCOME_TAG: report.outcome,
    }
    experiment = experiment_id(client, params.registry.experiment)
    with mlflow.start_run(experiment_id=experiment, run_name=STAGE, tags={"stage": STAGE}) as run:
        mlflow.log_metrics({f"drift.{one.measure}": one.part for one in report.measures if one.part is not None})
        for name in (REPORT, CLIPS, PICTURE):
            if (work / name).is_file():
                mlflow.log_artifact(str(work / name))
        mlflow.set_tags(tags)
    return run.info.run_id


def report_of(client: "MlflowClient", run_id: str) -> dict[str, Any]:
    """Return the report of a monitoring, as JSON has it."""
    return json.loads(_read(client, run_id, REPORT))


def clips_of(client: "MlflowClient", run_id: str) -> list[Seen]:
    """Return the clips that were judged."""
    return from_lines(_read(client, run_id, CLIPS))


def fetch_picture(client: "MlflowClient", run_id: str, folder: Path) -> Path | None:
    """Bring the picture of a monitoring to a folder; None if it has none, as clips were too few."""
    if not any(artifact.path == PICTURE for artifact in client.list_artifacts(run_id)):
        return None
    return Path(client.download_artifacts(run_id, PICTURE, str(folder)))


def is_announced(run_id: str) -> bool:
    """Tell whether the alarm of a monitoring was sent."""
    return connect().get_run(run_id).data.tags.get(ANNOUNCED_TAG) == "true"


def mark_announced(run_id: str) -> None:
    """Note that the alarm of a monitoring was sent."""
    connect().set_tag(run_id, ANNOUNCED_TAG, "true")


def accept(params: Params, run_id: str) -> Record:
    """Take the clips of a monitoring for what production looks like, and return it.

    Raises:
        CacError: there is no such monitoring, or it judged no clips.
    """
    client = connect()
    found = next((one for one in records(client, params) if one.run_id == run_id), None)
    if found is None:
        raise CacError(f"{run_id} is no monitoring. `cac drift check` prints its run; MLflow lists them as `{STAGE}`.")
    if found.outcome not in (DRIFT, NO_DRIFT):
        raise CacError(f"monitoring {run_id} ended as {found.outcome!r}: it compared nothing. Accept one that did.")
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
