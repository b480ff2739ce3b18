"""Rollback and veto: a person overrides the gate, and a tag of the version records who replaced whom, when and why.

A rollback makes the previous champion champion again. Each rollback goes one champion further back, and never to a
version that was itself rolled back. A veto keeps a version from being promoted. Such a version comes back only through
`cac promote --despite-rollback` or `--despite-veto`. It is not the best version any more, either: the one before it is,
or the champion if there is none. How a person pins the best version is in `pin.py`.

Tags are written before an alias moves, so repeating the command completes a rollback that was interrupted.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.io.urls import without_password
from cac.params import Params
from cac.registry.pin import checked_reason, is_restorable, now, release_pin
from cac.registry.versions import (
    CHAMPION,
    ROLLED_BACK_TAG,
    VETO_TAG,
    VETO_UNTIL_TAG,
    champion_history,
    get_aliases,
    get_champion,
    get_complete_version,
    set_champion,
)
from cac.tracking.mlflow_runs import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

RESTORED_TAG = "restored"


@dataclass(frozen=True)
class Veto:
    """Which version was vetoed, why, and when (ISO 8601, UTC)."""

    model_name: str
    version: str
    reason: str
    at: str


@dataclass(frozen=True)
class Rollback:
    """Which champion was replaced by which earlier one, why, and when (ISO 8601, UTC)."""

    model_name: str
    version: str
    restored: str
    reason: str
    at: str


def rollback(params: Params, reason: str) -> Rollback:
    """Make the previous champion champion again.

    Raises:
        CacError: there is no reason, no champion, or no former champion that can be restored.
    """
    reason = checked_reason(reason, "a rollback", "what went wrong")
    client, name = connect(), params.registry.model_name
    champion = get_champion(client, name)
    if champion is None:
        store = without_password(client.tracking_uri)
        raise CacError(f"{name} has no champion in {store}. Promote a version with `cac promote`.")
    version, history = str(champion.version), _restorable_history(client, champion)
    if not history:
        raise CacError(
            f"{name} version {version} has no champion before it that can be restored; it stays champion. Promote "
            "another version with `cac promote --version N`; `cac registry` lists them."
        )
    record = Rollback(name, version, history[-1], reason, now())
    _tag(client, record, record.version, ROLLED_BACK_TAG)
    _tag(client, record, record.restored, RESTORED_TAG)
    release_pin(client, name, version, fallback=record.restored)
    set_champion(client, name, record.restored, history[:-1])
    return record


def veto(params: Params, version: str, reason: str) -> Veto:
    """Keep a version from being promoted; a second veto replaces the reason of the first.

    Raises:
        CacError: there is no reason, no complete version with this number, or the version is the champion.
    """
    reason = checked_reason(reason, "a veto", "what is wrong with it")
    client, name = connect(), params.registry.model_name
    found = str(get_complete_version(client, name, version).version)
    champion = get_aliases(client, name).get(CHAMPION)
    if champion == found:
        raise CacError(f"{name} version {found} is already the champion. Roll it back: cac rollback --reason TEXT.")
    record = Veto(name, found, reason, now())
    _tag(client, record, found, VETO_TAG)
    release_pin(client, name, found, fallback=champion)
    return record


def open_veto_window(params: Params, version: str, seconds: int) -> str:
    """Record until when a version waits for a veto, and return that moment (ISO 8601, UTC).

    Raises:
        CacError: there is no complete version with this number.
    """
    client, name = connect(), params.registry.model_name
    get_complete_version(client, name, version)
    until = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")
    client.set_model_version_tag(name, version, VETO_UNTIL_TAG, until)
    return until


def _tag(client: "MlflowClient", record: Rollback | Veto, version: str, tag: str) -> None:
    """Write an override to a version's tag as JSON."""
    client.set_model_version_tag(record.model_name, version, tag, json.dumps(asdict(record), sort_keys=True))


def _restorable_history(client: "MlflowClient", champion: "ModelVersion") -> tuple[str, ...]:
    """Return the former champions that can be restored, oldest first."""
    history = (version for version in champion_history(client, champion) if version != str(champion.version))
    return tuple(version for version in history if is_restorable(client, champion.name, version))
