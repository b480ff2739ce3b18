"""List all versions with their aliases, metrics, gate result and lineage, for `cac registry`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cac.params import Params
from cac.registry.gate import GATE_METRICS, Reference
from cac.registry.predictions import EVALUATION_SET_TAG
from cac.registry.versions import (
    BEST,
    CHAMPION,
    GATE_TAG,
    REGISTRATION_TAG,
    VETO_UNTIL_TAG,
    get_aliases,
    rollback_reason,
    value_tag,
    veto_reason,
)
from cac.tracking.mlflow_runs import connect
from cac.tracking.run_state import UNKNOWN

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class VersionSummary:
    """One version.

    Attributes:
        version: its number.
        aliases: sorted.
        registration: "complete", "incomplete" or "superseded".
        gate: "passed", "failed", or None if the gate has not checked it.
        gate_reasons: the failed checks, in one line.
        rolled_back: the reason of its rollback; None if it was not rolled back.
        vetoed: the reason of its veto; None if it was not vetoed.
        veto_until: the end of its veto window (ISO 8601, UTC); None if it had none.
        created: when it was registered (ISO 8601, UTC).
        gate_champion, gate_best: the versions it was compared with; None if there was none.
        difference_to_champion, difference_to_best: in balanced accuracy, on the same clips; None if not compared.
        metrics: the gate's metrics, {name: value}; None where a value is not known.
        evaluation_set, git_commit, git_dirty, data_md5: its test clips, code and data, or "unknown".
    """

    version: str
    aliases: tuple[str, ...]
    registration: str
    gate: str | None
    gate_reasons: str | None
    gate_champion: str | None
    gate_best: str | None
    difference_to_champion: float | None
    difference_to_best: float | None
    rolled_back: str | None
    vetoed: str | None
    veto_until: str | None
    created: str
    metrics: dict[str, float | None]
    evaluation_set: str
    git_commit: str
    git_dirty: str
    data_md5: str


def list_versions(params: Params) -> list[VersionSummary]:
    """Return all versions of the registered model, newest first."""
    client, name = connect(), params.registry.model_name
    held: dict[str, list[str]] = {}
    for alias, version in sorted(get_aliases(client, name).items()):
        held.setdefault(version, []).append(alias)
    found = client.search_model_versions(f"name = '{name}'")
    newest_first = sorted(found, key=lambda version: -int(version.version))
    return [_summarise(version, tuple(held.get(str(version.version), ()))) for version in newest_first]


def _summarise(version: "ModelVersion", held: tuple[str, ...]) -> VersionSummary:
    tags, to_champion, to_best = version.tags, *_differences(version.tags)
    return VersionSummary(
        version=str(version.version),
        aliases=held,
        registration=tags.get(REGISTRATION_TAG, UNKNOWN),
        gate=tags.get(GATE_TAG),
        gate_reasons=tags.get("gate_reasons"),
        gate_champion=_reference(tags.get("gate_champion")),
        gate_best=_reference(tags.get("gate_best")),
        difference_to_champion=to_champion,
        difference_to_best=to_best,
        rolled_back=rollback_reason(version),
        vetoed=veto_reason(version),
        veto_until=tags.get(VETO_UNTIL_TAG),
        created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        metrics={name: _number(tags.get(value_tag(name))) for name in GATE_METRICS},
        evaluation_set=tags.get(EVALUATION_SET_TAG, UNKNOWN),
        git_commit=tags.get("git_commit", UNKNOWN),
        git_dirty=tags.get("git_dirty", UNKNOWN),
        data_md5=tags.get("data_md5", UNKNOWN),
    )


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _reference(tag: str | None) -> str | None:
    return None if tag == "none" else tag


def _differences(tags: Mapping[str, str]) -> tuple[float | None, float | None]:
    """Return the differences in balanced accuracy to the champion and the best; the same if they were one version.

    Decisions made before there was a best compare with the champion only, by the lower end of the interval: None.
    """
    if "gate_best" not in tags:
        return None, None
    values = {check["name"]: check["value"] for check in json.loads(tags["gate_checks"])}
    names = (Reference(role, "").difference("balanced_accuracy") for role in (CHAMPION, BEST))
    to_champion, to_best = (values.get(name) for name in names)
    return to_champion, (to_champion if tags["gate_best"] == tags["gate_champion"] else to_best)
