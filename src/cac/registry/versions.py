"""Who is champion, who was before, and the one way the aliases move.

`champion` is what consumers load, `previous` the version a rollback brings back. MLflow cannot change two things at
once, so what the aliases follow from is a tag of the champion: the versions that were champion before it, oldest first.
It is written to a version before that becomes champion, and `champion` is the last write of all. A process that is
killed on the way has therefore changed nothing for a consumer, and the same command again completes it. Left out: two
promotions at the same time, from which MLflow has no protection.
"""

import json
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.io.urls import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.exceptions import MlflowException

CHAMPION = "champion"
PREVIOUS = "previous"
HISTORY_TAG = "champions_before"
GATE_TAG = "gate"
PASSED, FAILED = "passed", "failed"
ROLLED_BACK_TAG = "rolled_back"
VETO_TAG = "vetoed"
VETO_UNTIL_TAG = "veto_until"  # when a retraining puts it to the gate; ISO 8601, UTC
_LONGEST_LINE = 100


def get_complete_version(client: "MlflowClient", name: str, version: str) -> "ModelVersion":
    """Return a version whose registration is complete.

    Raises:
        CacError: there is no such version, or its registration was cut off.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_model_version(name, version)
    except MlflowException as error:
        if not is_not_found(error):
            raise
        store = without_password(client.tracking_uri)
        raise CacError(f"no version {version} of {name} in {store}. Run `cac register` first.") from error
    if found.tags.get(REGISTRATION_TAG) != COMPLETE:
        raise CacError(f"registration of {name} version {version} is not complete. Run `cac register` again.")
    return found


def is_not_found(error: "MlflowException") -> bool:
    """Tell whether MLflow says that there is no such thing; it may as well not be reached, or not let us in."""
    return error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the latter: a name none has


def get_aliases(client: "MlflowClient", name: str) -> dict[str, str]:
    """Return {alias: version}; empty if nothing was registered yet."""
    from mlflow.exceptions import MlflowException

    try:
        return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}
    except MlflowException as error:
        if not is_not_found(error):
            raise
        return {}


def get_champion(client: "MlflowClient", name: str) -> "ModelVersion | None":
    """Return the champion; None if there is none."""
    version = get_aliases(client, name).get(CHAMPION)
    return None if version is None else client.get_model_version(name, version)


def champion_history(client: "MlflowClient", champion: "ModelVersion") -> tuple[str, ...]:
    """Return the versions that were champion before this one, oldest first.

    A champion from before there was a tag for it has at most the one that `previous` names.
    """
    if HISTORY_TAG in champion.tags:
        return tuple(json.loads(champion.tags[HISTORY_TAG]))
    previous = get_aliases(client, champion.name).get(PREVIOUS)
    return () if previous in (None, str(champion.version)) else (previous,)


def rollback_reason(version: "ModelVersion") -> str | None:
    """Return why a version was rolled back; None if it was not, or has been promoted since."""
    return _reason(version, ROLLED_BACK_TAG)


def veto_reason(version: "ModelVersion") -> str | None:
    """Return why a person said no to a version; None if nobody did, or it has been promoted since."""
    return _reason(version, VETO_TAG)


def _reason(version: "ModelVersion", tag: str) -> str | None:
    note = version.tags.get(tag)
    return None if note is None else str(json.loads(note)["reason"])


def set_champion(client: "MlflowClient", name: str, version: str, line: tuple[str, ...]) -> None:
    """Make a version champion after those in `line`; it must not be champion already."""
    client.set_model_version_tag(name, version, HISTORY_TAG, json.dumps(line[-_LONGEST_LINE:]))
    if line:
        client.set_registered_model_alias(name, PREVIOUS, line[-1])
    elif PREVIOUS in get_aliases(client, name):
        client.delete_registered_model_alias(name, PREVIOUS)
    client.set_registered_model_alias(name, CHAMPION, version)


KEY_TAG = "registration_key"
REGISTRATION_TAG = "registration"
COMPLETE, INCOMPLETE, SUPERSEDED = "complete", "incomplete", "superseded"
SECONDS_TAG = "seconds_per_clip"  # a tag and no metric: it depends on the machine and how busy it is


def metric_tag(metric: str) -> str:
    """Return the version's tag that holds a test metric."""
    return f"test_{metric}"


def value_tag(name: str) -> str:
    """Return the version's tag that holds a number the gate reads."""
    return name if name == SECONDS_TAG else metric_tag(name)
