"""Versions, their tags and aliases: the champion, its predecessors, the best, and the only code that moves the aliases.

`champion` is the version that consumers load, `previous` the one that a rollback restores, `best` the one that the gate
compares candidates with besides the champion. MLflow cannot change two things at once. So the history is a tag of the
champion: the versions that were champion before it, oldest first. The tag is written before a version becomes champion,
and the alias `champion` is written last, after `best`. A process that is killed in between has changed nothing for
consumers, and the same command completes it. `best` has such a tag as well, so that a best version that is rolled back
or vetoed gives way to the one before it. Out of scope: two promotions at the same time, which MLflow does not prevent.
"""

import json
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.io.urls import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.exceptions import MlflowException

KEY_TAG = "registration_key"
REGISTRATION_TAG = "registration"
COMPLETE, INCOMPLETE, SUPERSEDED = "complete", "incomplete", "superseded"
SECONDS_TAG = "seconds_per_clip"  # not an MLflow metric, because it depends on the machine and its load

CHAMPION = "champion"
PREVIOUS = "previous"
BEST = "best"
HISTORY_TAG = "champions_before"
BEST_HISTORY_TAG = "bests_before"
GATE_TAG = "gate"
PASSED, FAILED = "passed", "failed"
ROLLED_BACK_TAG = "rolled_back"
VETO_TAG = "vetoed"
VETO_UNTIL_TAG = "veto_until"  # until then a retraining waits before it promotes; ISO 8601, UTC
_MAX_HISTORY = 100


def get_complete_version(client: "MlflowClient", name: str, version: str) -> "ModelVersion":
    """Return a version whose registration is complete.

    Raises:
        CacError: there is no such version, or its registration was interrupted.
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
    """Return whether MLflow answered that the object does not exist; other errors, such as no access, are different."""
    return error.error_code in (
        "RESOURCE_DOES_NOT_EXIST",
        "INVALID_PARAMETER_VALUE",
    )  # the latter for a name that nothing has


def get_aliases(client: "MlflowClient", name: str) -> dict[str, str]:
    """Return {alias: version}; empty if nothing is registered yet."""
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


def get_best(client: "MlflowClient", name: str) -> "ModelVersion | None":
    """Return the pinned best version; in a store without a pin that is the champion, and without one None."""
    aliases = get_aliases(client, name)
    version = aliases.get(BEST, aliases.get(CHAMPION)) if CHAMPION in aliases else None
    return None if version is None else client.get_model_version(name, version)


def best_history(best: "ModelVersion") -> tuple[str, ...]:
    """Return the versions that were pinned as the best before this one, oldest first."""
    return tuple(json.loads(best.tags.get(BEST_HISTORY_TAG, "[]")))


def champion_history(client: "MlflowClient", champion: "ModelVersion") -> tuple[str, ...]:
    """Return the versions that were champion before this one, oldest first.

    A champion without the tag, promoted before the tag existed, has at most the version that `previous` names.
    """
    if HISTORY_TAG in champion.tags:
        return tuple(json.loads(champion.tags[HISTORY_TAG]))
    previous = get_aliases(client, champion.name).get(PREVIOUS)
    return () if previous in (None, str(champion.version)) else (previous,)


def rollback_reason(version: "ModelVersion") -> str | None:
    """Return the reason of a version's rollback; None if it was not rolled back, or was promoted since."""
    return _reason(version, ROLLED_BACK_TAG)


def veto_reason(version: "ModelVersion") -> str | None:
    """Return the reason of a version's veto; None if it was not vetoed, or was promoted since."""
    return _reason(version, VETO_TAG)


def _reason(version: "ModelVersion", tag: str) -> str | None:
    note = version.tags.get(tag)
    return None if note is None else str(json.loads(note)["reason"])


def set_champion(client: "MlflowClient", name: str, version: str, history: tuple[str, ...]) -> None:
    """Make a version champion, with `history` as its predecessors, oldest first; it must not be champion already."""
    client.set_model_version_tag(name, version, HISTORY_TAG, json.dumps(history[-_MAX_HISTORY:]))
    if history:
        client.set_registered_model_alias(name, PREVIOUS, history[-1])
    elif PREVIOUS in get_aliases(client, name):
        client.delete_registered_model_alias(name, PREVIOUS)
    client.set_registered_model_alias(name, CHAMPION, version)


def set_best(client: "MlflowClient", name: str, version: str, history: tuple[str, ...]) -> None:
    """Pin a version as the best, with `history` as the best before it, oldest first."""
    client.set_model_version_tag(name, version, BEST_HISTORY_TAG, json.dumps(history[-_MAX_HISTORY:]))
    client.set_registered_model_alias(name, BEST, version)


def metric_tag(metric: str) -> str:
    """Return the version's tag that holds a test metric."""
    return f"test_{metric}"


def value_tag(name: str) -> str:
    """Return the version's tag that holds a number the gate reads."""
    return name if name == SECONDS_TAG else metric_tag(name)
