"""Rollback: the champion steps down, and the one before it is champion again.

Each rollback goes one champion further back, and never to a version that was itself rolled back: such a version comes
back only through `cac promote --despite-rollback`. Both versions are tagged with who replaced whom, when and why,
before an alias moves, so the same command again completes a rollback that was cut off.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.io.urls import without_password
from cac.params import Params
from cac.registry.versions import (
    CHAMPION,
    COMPLETE,
    GATE_TAG,
    PASSED,
    REGISTRATION_TAG,
    ROLLED_BACK_TAG,
    VETO_TAG,
    VETO_UNTIL_TAG,
    champion_history,
    get_aliases,
    get_champion,
    get_complete_version,
    is_not_found,
    set_champion,
)
from cac.tracking.mlflow_runs import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient

RESTORED_TAG = "restored"
_LONGEST_REASON = 2000  # characters


@dataclass(frozen=True)
class Rollback:
    """Who stepped down for whom, why, and when (ISO 8601, UTC)."""

    model_name: str
    version: str
    restored: str
    reason: str
    at: str


def rollback(params: Params, reason: str) -> Rollback:
    """Make the champion before this one champion again.

    Raises:
        CacError: no reason is given, there is no champion, or none before it that could be restored.
    """
    if not reason.strip() or len(reason) > _LONGEST_REASON:
        raise CacError(f"a rollback needs a reason of 1 to {_LONGEST_REASON} characters: --reason 'what went wrong'.")
    client, name = connect(), params.registry.model_name
    champion = get_champion(client, name)
    if champion is None:
        store = without_password(client.tracking_uri)
        raise CacError(f"{name} has no champion in {store}. Promote a version with `cac promote`.")
    present = str(champion.version)
    line = tuple(v for v in champion_history(client, champion) if v != present and _restorable(client, name, v))
    if not line:
        raise CacError(
            f"{name} version {present} has no champion before it that could be restored; it stays champion. Promote "
            "another version with `cac promote --version N`; `cac registry` lists them."
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = Rollback(name, present, line[-1], reason.strip(), now)
    note = json.dumps(asdict(record), sort_keys=True)
    client.set_model_version_tag(name, present, ROLLED_BACK_TAG, note)
    client.set_model_version_tag(name, record.restored, RESTORED_TAG, note)
    set_champion(client, name, record.restored, line[:-1])
    return record


def _restorable(client: "MlflowClient", name: str, version: str) -> bool:
    """Tell whether a former champion is still there and fit to be one."""
    from mlflow.exceptions import MlflowException

    try:
        tags = client.get_model_version(name, version).tags
    except MlflowException as error:
        if not is_not_found(error):
            raise
        return False
    return tags.get(REGISTRATION_TAG) == COMPLETE and tags.get(GATE_TAG) == PASSED and ROLLED_BACK_TAG not in tags


_LONGEST_REASON = 2000  # characters


@dataclass(frozen=True)
class Veto:
    """Which version was vetoed, why, and when (ISO 8601, UTC)."""

    model_name: str
    version: str
    reason: str
    at: str


def veto(params: Params, version: str, reason: str) -> Veto:
    """Keep a version from being promoted; a second veto replaces the first one's reason.

    Raises:
        CacError: no reason is given, there is no such complete version, or it is the champion.
    """
    if not reason.strip() or len(reason) > _LONGEST_REASON:
        raise CacError(f"a veto needs a reason of 1 to {_LONGEST_REASON} characters: --reason 'what is wrong with it'.")
    client, name = connect(), params.registry.model_name
    found = get_complete_version(client, name, version)
    if get_aliases(client, name).get(CHAMPION) == str(found.version):
        raise CacError(f"{name} version {version} is the champion already. Take it back: cac rollback --reason TEXT.")
    record = Veto(name, str(found.version), reason.strip(), datetime.now(UTC).isoformat(timespec="seconds"))
    client.set_model_version_tag(name, record.version, VETO_TAG, json.dumps(asdict(record), sort_keys=True))
    return record


def open_veto_window(params: Params, version: str, seconds: int) -> str:
    """Write down until when a version waits for a veto, and return that moment (ISO 8601, UTC).

    Raises:
        CacError: there is no such complete version.
    """
    client, name = connect(), params.registry.model_name
    get_complete_version(client, name, version)
    until = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")
    client.set_model_version_tag(name, version, VETO_UNTIL_TAG, until)
    return until
