"""A real MLflow store for each test: one SQLite file is migrated a session, and copied."""

import shutil
from pathlib import Path

import pytest

from cac.params import Params, load_params
from cac.registry.tracking import connect

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def params() -> Params:
    return load_params(REPOSITORY / "params.yaml")


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        _work_in(folder, patch)
        connect().search_experiments()
    return folder / ".mlflow" / "mlflow.db"


@pytest.fixture
def project(tmp_path, migrated_store, monkeypatch) -> Path:
    """An empty project folder with a store of its own, being the current folder."""
    (tmp_path / ".mlflow").mkdir()
    shutil.copy(migrated_store, tmp_path / ".mlflow" / "mlflow.db")
    _work_in(tmp_path, monkeypatch)
    return tmp_path


def _work_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(folder)
    # MLflow itself sets the variable; setting it first is what makes the patch put it back after the test.
    patch.setenv("MLFLOW_TRACKING_URI", "unset")
    patch.delenv("MLFLOW_TRACKING_URI")
