"""The pin of the best version: a person moves it, and a version that was rolled back or vetoed loses it.

The gate moves it as well, to a candidate that is better with confidence (`promote.py`). A person pins a version when
that record misleads: the best version turned out to be wrong, or a new test split ranks the versions differently.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.params import Params
from cac.registry.versions import (
    BEST,
    COMPLETE,
    GATE_TAG,
    PASSED,
    REGISTRATION_TAG,
    ROLLED_BACK_TAG,
    VETO_TAG,
    best_history,
    get_aliases,
    get_best,
    get_complete_version,
    is_not_found,
    rollback_reason,
    set_best,
    veto_reason,
)
from cac.tracking.mlflow_runs import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient

PINNED_TAG = "pinned"
_MAX_REASON = 2000  # characters


@dataclass(frozen=True)
class Pin:
    """Which version a person pinned as the best, instead of which one (None: there was none), why, and when."""

    model_name: str
    version: str
    replaced: str | None
    reason: str
    at: str


def pin(params: Params, version: str, reason: str) -> Pin:
    """Pin a version as the best; those that were pinned before do not come back by a rollback.

    Raises:
        CacError: there is no reason, no complete version with this number, or it was rolled back or vetoed.
    """
    reason = checked_reason(reason, "a pin", "the test split is harder now")
    client, name = connect(), params.registry.model_name
    found = get_complete_version(client, name, version)
    overridden = rollback_reason(found) or veto_reason(found)
    if overridden is not None:
        raise CacError(f"{name} version {version} was rolled back or vetoed ({overridden!r}). Pin another version.")
    best = get_best(client, name)
    record = Pin(name, str(found.version), None if best is None else str(best.version), reason, now())
    client.set_model_version_tag(name, record.version, PINNED_TAG, json.dumps(asdict(record), sort_keys=True))
    set_best(client, name, record.version, ())
    return record


def release_pin(client: "MlflowClient", name: str, version: str, fallback: str | None) -> None:
    """Move the pin from a version, if it has it, to the best one before it that can be restored, or else `fallback`.

    Without a fallback the pin is left: there is no champion yet, and the first one is pinned.
    """
    if get_aliases(client, name).get(BEST) != version:
        return
    history = best_history(client.get_model_version(name, version))
    restorable = tuple(one for one in history if one != version and is_restorable(client, name, one))
    if restorable:
        set_best(client, name, restorable[-1], restorable[:-1])
    elif fallback is not None:
        set_best(client, name, fallback, ())


def is_restorable(client: "MlflowClient", name: str, version: str) -> bool:
    """Return whether a version still exists, is complete, passed the gate, and was neither rolled back nor vetoed."""
    from mlflow.exceptions import MlflowException

    try:
        tags = client.get_model_version(name, version).tags
    except MlflowException as error:
        if not is_not_found(error):
            raise
        return False
    passed = tags.get(REGISTRATION_TAG) == COMPLETE and tags.get(GATE_TAG) == PASSED
    return passed and ROLLED_BACK_TAG not in tags and VETO_TAG not in tags


def checked_reason(reason: str, override: str, example: str) -> str:
    """Return a person's reason without surrounding space.

    Raises:
        CacError: it is empty or too long; the message names the override and gives an example.
    """
    if not reason.strip() or len(reason) > _MAX_REASON:
        raise CacError(f"{override} needs a reason of 1 to {_MAX_REASON} characters: --reason {example!r}.")
    return reason.strip()


def now() -> str:
    """Return this moment (ISO 8601, UTC)."""
    return datetime.now(UTC).isoformat(timespec="seconds")
