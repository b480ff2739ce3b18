"""TODO."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.io.urls import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from cac.model.reward_model import RewardModel


def load_model(uri: str, package: Path | None) -> "RewardModel":
    """Load the model of a package folder, or else of an MLflow model URI.

    Raises:
        CacError: there is no such model, or it is no CaC model.
    """
    if package is not None and not package.is_dir():
        raise CacError(f"no model package at {package}. Name a folder with reward_model.json in it.")
    with nullcontext(package) if package else _fetched(uri) as folder:
        from cac.model.reward_model import RewardModel

        return RewardModel.from_package(folder)


@contextmanager
def _fetched(uri: str) -> Iterator[Path]:
    """Give a local folder with the package of a registered model; an alias is resolved once.

    What comes from a server is removed afterwards; of a store in a file the very folder is given.
    """
    from cac.registry.versions import is_not_found
    from cac.tracking.mlflow_runs import connect

    client = connect()
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    with TemporaryDirectory(prefix="cac-model-") as scratch:
        place = None if client.tracking_uri.startswith("sqlite:") else scratch
        try:
            folder = Path(download_artifacts(artifact_uri=_resolve(client, uri), dst_path=place))
            artifacts = Model.load(str(folder)).flavors["python_function"]["artifacts"]
            package = folder / artifacts["package"]["path"]
        except MlflowException as error:
            if not is_not_found(error):
                raise
            said = f"no model at {uri} in {without_password(client.tracking_uri)}: {error.message}"
            raise CacError(f"{said} Register one with `make run`, or name another.") from error
        except KeyError as error:
            raise CacError(f"{uri} is no CaC reward model: it has no {error} in its MLmodel file.") from error
        yield package


def _resolve(client: "MlflowClient", uri: str) -> str:
    """Return the URI with an alias replaced by the version it names now."""
    name, at, alias = uri.removeprefix("models:/").partition("@")
    if not at:
        return uri
    return f"models:/{name}/{client.get_model_version_by_alias(name, alias).version}"
