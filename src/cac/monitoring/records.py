"""What became of each monitoring, as MLflow keeps it: a run with the report, the picture, the scores, and tags.

Tags say what others ask for: the outcome, which clips were judged, whether an alarm was sent, whether a person accepted
the clips as what production looks like. Tags are written after the files, so what a tag names is whole.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cac.params import Params
from cac.registry.tracking import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

STAGE = "monitoring"
DRIFT, NO_DRIFT, TOO_FEW, KNOWN = "drift", "no drift", "too few clips", "known"
REPORT, PICTURE, SCORES = "report.json", "drift.png", "clips.parquet"

OUTCOME_TAG = "monitoring.outcome"
PLACE_TAG = "monitoring.place"
VERSION_TAG = "monitoring.model_version"
CLIPS_TAG = "monitoring.clips"
DRIFTED_TAG = "monitoring.drifted"
ANNOUNCED_TAG = "monitoring.announced"
ACCEPTED_TAG = "monitoring.accepted"
_MOST = 1000  # runs that are looked through


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
    """Return the last monitoring; None if there was none."""
    return next(iter(records(connect(), params, most=10)), None)


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
    )
