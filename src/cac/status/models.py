"""Champion, previous, best and challenger from MLflow; a store that does not answer is given up after seconds."""

import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.io.urls import connection_error, without_password
from cac.params import Params
from cac.tracking.mlflow_runs import store_file, tracking_uri

if TYPE_CHECKING:
    from cac.registry.listing import VersionSummary

_SECONDS = 3.0
# MLflow retries for minutes by default. Values that the user has set are kept.
_RETRY_SETTINGS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}


@dataclass(frozen=True)
class Models:
    """The versions that matter; None where there is none.

    Attributes:
        source: the store's address, without a password.
        versions: how many there are.
        champion, previous, best: what the aliases name.
        challenger: the newest complete version after the champion.
    """

    source: str
    versions: int
    champion: "VersionSummary | None"
    previous: "VersionSummary | None"
    challenger: "VersionSummary | None"
    best: "VersionSummary | None" = None


def store_exists() -> bool:
    """Return whether the store exists; a SQLite file that does not exist is not created.

    Raises:
        CacError: the store's machine does not answer, or MLFLOW_TRACKING_URI names no store.
    """
    database = store_file()
    if database is not None:
        return database.is_file()
    uri = tracking_uri()
    for name, value in _RETRY_SETTINGS.items():
        os.environ.setdefault(name, value)
    if silence := connection_error(uri, _SECONDS):
        raise CacError(
            f"the MLflow store at {without_password(uri)} does not answer ({silence}). Start it, or unset "
            "MLFLOW_TRACKING_URI."
        ) from silence
    return True


def models(params: Params) -> Models:
    """Return the versions that matter.

    Raises:
        CacError: the store cannot be read.
    """
    source = without_password(tracking_uri())
    if not store_exists():
        return Models(source, 0, None, None, None)
    from mlflow.exceptions import MlflowException

    from cac.registry.listing import list_versions
    from cac.registry.versions import BEST, CHAMPION, PREVIOUS

    try:
        versions = list_versions(params)
    except MlflowException as error:
        raise CacError(f"the MLflow store at {source} cannot be read: {error.message}") from error
    by_alias = {alias: version for version in versions for alias in version.aliases}
    champion = by_alias.get(CHAMPION)
    challenger = _challenger(versions, champion)
    return Models(source, len(versions), champion, by_alias.get(PREVIOUS), challenger, by_alias.get(BEST))


def _challenger(versions: list["VersionSummary"], champion: "VersionSummary | None") -> "VersionSummary | None":
    """Return the newest complete version after the champion; versions stand newest first."""
    newer = (one for one in versions if champion is None or int(one.version) > int(champion.version))
    return next((one for one in newer if one.registration == "complete"), None)


def describe_status(version: "VersionSummary", now: datetime) -> str:
    """Describe the status of a version that is not the champion."""
    if version.rolled_back:
        return f"rolled back: {version.rolled_back}"
    if version.vetoed:
        return f"vetoed: {version.vetoed}"
    if version.gate == "failed":
        return "refused by the gate"
    if version.gate:
        return f"{version.gate} the gate"
    return "waits for a veto" if in_window(version, now) else "not promoted yet"


def in_window(version: "VersionSummary", now: datetime) -> bool:
    """Return whether a version is in its veto window now."""
    return not version.gate and bool(version.veto_until) and datetime.fromisoformat(str(version.veto_until)) > now
