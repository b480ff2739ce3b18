"""Registration: the last checkpoint becomes a version of the registered model, once.

A version's key is a hash of what determines the model: its package (weights, tokenizer, calibration), the code that
loads it, and its evaluation. The version carries its lineage, its model card and its test predictions, clip by clip,
for later comparisons. Registering the same checkpoint again returns the existing version. The tag `registration` is set
to "complete" last: after a crash, the next registration completes the version, and until then it is never promoted.
Out of scope: moving aliases (`versions.py`), training, and any measurement but the seconds a clip takes.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.params import Params
from cac.registry.candidate import Candidate, build_candidate
from cac.registry.card.model_card import summary
from cac.registry.logged_model import check_loads, log_model
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
    """A complete version of the registered model; `created` is false if it existed before."""

    name: str
    version: str
    key: str
    created: bool

    @property
    def uri(self) -> str:
        """The URI by which MLflow loads it."""
        return f"models:/{self.name}/{self.version}"


def register(root: Path, params: Params) -> RegisteredVersion:
    """Register the checkpoint under `root` and return its version, or the existing one.

    Raises:
        CacError: an input is missing, incomplete or out of date, or MLflow's store cannot be used.
    """
    with TemporaryDirectory(prefix="cac-register-") as scratch:
        candidate = build_candidate(root, params, Path(scratch))  # first: a folder without one gets no store
        client = connect(create=True)
        end_orphaned_runs(client, experiment_id(client, params.registry.experiment))
        known = _known_version(client, candidate)
        if known is not None:
            return known
        with stage_run("register", params) as run:
            version = _create_version(run, candidate)
        return _complete(client, candidate, version, created=True)


def _known_version(client: "MlflowClient", candidate: Candidate) -> RegisteredVersion | None:
    """Return the version with the candidate's key, completing an interrupted registration; None if there is none."""
    matches = client.search_model_versions(f"name = '{candidate.name}' AND tags.{KEY_TAG} = '{candidate.key}'")
    found = sorted(matches, key=lambda version: int(version.version))
    for version in found:
        if version.tags[REGISTRATION_TAG] == COMPLETE:
            _update_lineage(client, candidate, version)
            return RegisteredVersion(candidate.name, str(version.version), candidate.key, created=False)
    for version in found:
        if version.tags[REGISTRATION_TAG] == INCOMPLETE and _is_loadable(client, candidate, version):
            return _complete(client, candidate, version, created=False)
    return None


def _update_lineage(client: "MlflowClient", candidate: Candidate, version: "ModelVersion") -> None:
    """Update the lineage of a version made from changes that have been committed since; `git_dirty` is set last."""
    if candidate.lineage[_DIRTY] != "false" or version.tags.get(_DIRTY) == "false":
        return
    client.log_text(run_id_of(version), candidate.lineage_text, "lineage.json")
    for key, value in sorted(candidate.lineage.items(), key=lambda tag: tag[0] == _DIRTY):
        client.set_model_version_tag(version.name, str(version.version), key, value)


def _is_loadable(client: "MlflowClient", candidate: Candidate, version: "ModelVersion") -> bool:
    """Return whether an incomplete version can be loaded; mark it as superseded if not."""
    from mlflow.exceptions import MlflowException

    try:
        check_loads(f"models:/{version.name}/{version.version}", candidate)
    except (MlflowException, CacError, OSError) as error:
        _log.warning("version %s of %s cannot be loaded, superseding it: %s", version.version, version.name, error)
        client.set_model_version_tag(version.name, str(version.version), REGISTRATION_TAG, SUPERSEDED)
        return False
    return True


def _create_version(run: StageRun, candidate: Candidate) -> "ModelVersion":
    """Log the model, check that it loads and answers, and create an incomplete version."""
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
    """Set a version's description, then mark its registration as complete."""
    number = str(version.version)
    client.update_model_version(candidate.name, number, description=summary(candidate.facts))
    client.set_model_version_tag(candidate.name, number, REGISTRATION_TAG, COMPLETE)
    return RegisteredVersion(candidate.name, number, candidate.key, created)
