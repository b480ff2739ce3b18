"""Registration: the last checkpoint as a version of the registered model, once.

A version is keyed by what determines the model: its package (weights, tokenizer, calibration), the code it is loaded
with, and its evaluation. It carries its lineage, its card, and its test answers, clip by clip, for comparisons with
versions to come. Registering the same again returns the version there is. The tag `registration` turns to "complete"
last, so a crash leaves a version that the next registration finishes, and that is never promoted. Left out: moving
aliases (`aliases.py`), and training or measuring anything but how long a clip takes.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.params import Params
from cac.registry.candidate import Candidate, build_candidate
from cac.registry.logged_model import check_loads, log_model
from cac.registry.model_card import summary
from cac.registry.predictions import run_id_of, save_predictions
from cac.registry.versions import (
    COMPLETE,
    INCOMPLETE,
    KEY_TAG,
    REGISTRATION_TAG,
    SECONDS_TAG,
    SUPERSEDED,
    metric_tag,
)
from cac.tracking.mlflow_runs import StageRun, connect, experiment_id, stage_run
from cac.tracking.orphaned_runs import end_orphaned_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_DIRTY = "git_dirty"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RegisteredVersion:
    """A complete version of the registered model; `created` is false if it was there before."""

    name: str
    version: str
    key: str
    created: bool

    @property
    def uri(self) -> str:
        """The address MLflow loads it by."""
        return f"models:/{self.name}/{self.version}"


def register(root: Path, params: Params) -> RegisteredVersion:
    """Register the checkpoint under `root` and return its version; the one there is if it was registered before.

    Raises:
        CacError: an input is missing, incomplete or out of date, or MLflow's store cannot be used.
    """
    client = connect()
    end_orphaned_runs(client, experiment_id(client, params.registry.experiment))
    with TemporaryDirectory(prefix="cac-register-") as scratch:
        candidate = build_candidate(root, params, Path(scratch))
        known = _known_version(client, candidate)
        if known is not None:
            return known
        with stage_run("register", params) as run:
            version = _create_version(run, candidate)
        return _complete(client, candidate, version, created=True)


def _known_version(client: "MlflowClient", candidate: Candidate) -> RegisteredVersion | None:
    """Return the version with the candidate's key, finishing one whose registration was cut off."""
    matches = client.search_model_versions(f"name = '{candidate.name}' AND tags.{KEY_TAG} = '{candidate.key}'")
    found = sorted(matches, key=lambda version: int(version.version))
    for version in found:
        if version.tags[REGISTRATION_TAG] == COMPLETE:
            _clean_lineage(client, candidate, version)
            return RegisteredVersion(candidate.name, str(version.version), candidate.key, created=False)
    for version in found:
        if version.tags[REGISTRATION_TAG] == INCOMPLETE and _survived(client, candidate, version):
            return _complete(client, candidate, version, created=False)
    return None


def _clean_lineage(client: "MlflowClient", candidate: Candidate, version: "ModelVersion") -> None:
    """Give a version that came of uncommitted changes the commit that holds them now; the dirty flag goes last."""
    if candidate.lineage[_DIRTY] != "false" or version.tags.get(_DIRTY) == "false":
        return
    client.log_text(run_id_of(version), candidate.lineage_text, "lineage.json")
    for key, value in sorted(candidate.lineage.items(), key=lambda tag: tag[0] == _DIRTY):
        client.set_model_version_tag(version.name, str(version.version), key, value)


def _survived(client: "MlflowClient", candidate: Candidate, version: "ModelVersion") -> bool:
    """Tell whether a cut-off version can be loaded; one that cannot is marked as superseded."""
    from mlflow.exceptions import MlflowException

    try:
        check_loads(f"models:/{version.name}/{version.version}", candidate)
    except (MlflowException, CacError, OSError) as error:
        _log.warning("version %s of %s cannot be loaded, superseding it: %s", version.version, version.name, error)
        client.set_model_version_tag(version.name, str(version.version), REGISTRATION_TAG, SUPERSEDED)
        return False
    return True


def _create_version(run: StageRun, candidate: Candidate) -> "ModelVersion":
    """Log the model, see that it loads and answers, and make an incomplete version of it."""
    import mlflow
    from mlflow.exceptions import MlflowException

    run.log_metrics({metric_tag(name): value for name, value in candidate.metrics.items()})
    run.log_text(candidate.lineage_text, "lineage.json")
    run.log_artifact(candidate.folder / "model_card")
    model_id = log_model(candidate)
    mlflow.log_metrics(candidate.metrics, run_id=run.run_id, model_id=model_id)
    source = f"models:/{model_id}"
    seconds = check_loads(source, candidate)
    tags = {
        **candidate.tags(),
        SECONDS_TAG: repr(round(seconds, 4)),
        **save_predictions(run.client, run.run_id, candidate.measured),
    }
    try:
        run.client.create_registered_model(candidate.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return run.client.create_model_version(candidate.name, source, run_id=run.run_id, tags=tags, model_id=model_id)


def _complete(
    client: "MlflowClient", candidate: Candidate, version: "ModelVersion", created: bool
) -> RegisteredVersion:
    """Describe a version and mark its registration as complete, in this order."""
    number = str(version.version)
    client.update_model_version(candidate.name, number, description=summary(candidate.facts))
    client.set_model_version_tag(candidate.name, number, REGISTRATION_TAG, COMPLETE)
    return RegisteredVersion(candidate.name, number, candidate.key, created)
