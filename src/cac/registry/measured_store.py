"""Where the answers behind a version's metrics are kept: as artifacts of its MLflow run, named by their own hash.

A tag of the version says which file is of which set of clips. It is written after the file, so what a tag names is
whole, and a file is never written over by another one. A version may have answers on several sets: those it was
registered with, and those it was measured on again for a later comparison.
"""

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.registry.measured import Measured

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

EVALUATION_SET_TAG = "evaluation_set"  # of the metrics in the version's own tags


def measured_tag(evaluation_set: str) -> str:
    """Return the version's tag that names the file of its answers on a set of clips."""
    return f"measured_{evaluation_set[:16]}"


def run_of(version: "ModelVersion") -> str:
    """Return the MLflow run that made a version.

    Raises:
        CacError: it has none, so `cac register` did not make it.
    """
    if not version.run_id:
        raise CacError(f"{version.name} version {version.version} has no MLflow run. Use one that `cac register` made.")
    return version.run_id


def keep(client: "MlflowClient", run_id: str, measured: Measured) -> dict[str, str]:
    """Write the answers to the run of a version and return the tag, {key: value}, that the version is to have."""
    text = measured.to_lines()
    name = _sha256(text)
    client.log_text(run_id, text, _artifact(name))
    return {measured_tag(measured.evaluation_set): name}


def recall(client: "MlflowClient", version: "ModelVersion", evaluation_set: str) -> Measured | None:
    """Return a version's answers on a set of clips; None if it was never measured on them.

    Raises:
        CacError: the file that should hold them is gone or damaged, or the version has no run.
    """
    from mlflow.exceptions import MlflowException

    name = version.tags.get(measured_tag(evaluation_set))
    if name is None:
        return None
    run_id = run_of(version)
    where = f"{_artifact(name)} of MLflow run {run_id}"
    try:
        with TemporaryDirectory(prefix="cac-measured-") as scratch:
            text = Path(client.download_artifacts(run_id, _artifact(name), scratch)).read_text(encoding="utf-8")
    except (MlflowException, OSError) as error:
        raise CacError(f"cannot read {where}, the answers of version {version.version}: {error}. {_REMEDY}") from error
    if _sha256(text) != name:
        raise CacError(f"{where}, the answers of version {version.version}, is damaged. {_REMEDY}")
    return Measured.from_lines(text, where)


_REMEDY = "Restore it from a backup. A champion can be measured anew with `cac promote --remeasure-champion`."


def _artifact(name: str) -> str:
    return f"measured/{name}.jsonl"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
