"""Loading the reward model from a package folder, or by a model URI from MLflow.

`load_model` takes any URI that MLflow knows, also of a version whose registration is not complete. For jobs that run
long or are resumed, `pinned.py` resolves an alias once and keeps the version.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.io.urls import without_password
from cac.registry.model_uri import resolve_alias

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from cac.model.reward_model import RewardModel


def load_model(uri: str) -> "RewardModel":
    """Load a model by its MLflow URI.

    Raises:
        CacError: there is no such model, or it is not a CaC model.
    """
    with _downloaded(uri) as folder:
        return load_package(folder)


def load_package(folder: Path) -> "RewardModel":
    """Load a model from a package folder.

    Raises:
        CacError: there is no such folder, or it is not a package.
    """
    if not folder.is_dir():
        raise CacError(f"no model package at {folder}. Name a folder with reward_model.json in it.")
    from cac.model.reward_model import RewardModel

    return RewardModel.from_package(folder)


def resolve_source(uri: str) -> str:
    """Return a model's URI with an alias replaced by the version that it points to now.

    Raises:
        CacError: there is no such model or alias.
    """
    from cac.tracking.mlflow_runs import connect

    client = connect()
    with _explained(client, uri):
        return resolve_alias(client, uri)


def package_identity(folder: Path) -> str:
    """Return a name for a package folder that depends on nothing but its files: `package sha256:…`.

    Raises:
        CacError: there is no such folder.
    """
    if not folder.is_dir():
        raise CacError(f"no model package at {folder}. Name a folder with reward_model.json in it.")
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{digest}  {path.relative_to(folder).as_posix()}\n".encode())
    return f"package sha256:{whole.hexdigest()[:16]}"


@contextmanager
def _downloaded(uri: str) -> Iterator[Path]:
    """Yield a local folder with the package of a model.

    A download from a server is removed afterwards. With a SQLite store, the folder is the one in the store.
    """
    from cac.tracking.mlflow_runs import connect

    client = connect()
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    with TemporaryDirectory(prefix="cac-model-") as scratch:
        destination = None if client.tracking_uri.startswith("sqlite:") else scratch
        with _explained(client, uri):
            folder = Path(download_artifacts(artifact_uri=resolve_alias(client, uri), dst_path=destination))
            flavors = Model.load(str(folder)).flavors
        try:
            package = folder / flavors["python_function"]["artifacts"]["package"]["path"]
        except KeyError as error:
            raise CacError(f"{uri} is not a CaC reward model: its MLmodel file has no {error}.") from error
        yield package


@contextmanager
def _explained(client: "MlflowClient", uri: str) -> Iterator[None]:
    """Turn MLflow's error about a model that does not exist into one that says what to do."""
    from cac.registry.versions import is_not_found

    try:
        yield
    except Exception as error:
        from mlflow.exceptions import MlflowException

        if not isinstance(error, MlflowException) or not is_not_found(error):
            raise
        message = f"no model at {uri} in {without_password(client.tracking_uri)}: {error.message}"
        raise CacError(f"{message} Register one with `make run`, or name another.") from error
