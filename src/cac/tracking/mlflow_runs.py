"""The connection to MLflow, and one MLflow run per stage.

The tracking store is the one that MLFLOW_TRACKING_URI names. The default is a SQLite file in `.mlflow/` of the current
folder, with the artifacts beside it. MLflow's file store is deprecated and not supported. Autologging and MLflow's
trainer callbacks are not used, because they log hundreds of settings that nobody needs.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cac.errors import CacError
from cac.io import distributed
from cac.params import Params
from cac.paths import DATA_DVC
from cac.tracking.lineage import guard_inputs
from cac.tracking.mlflow_unreachable import is_unreachable
from cac.tracking.orphaned_runs import PROCESS_TAG, end_orphaned_runs, process_identity
from cac.tracking.run_state import UNKNOWN, RunState, read_run_state

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
_SQLITE_SECONDS = 60  # to wait for another process's write


@dataclass(frozen=True)
class StageRun:
    """The MLflow run of one stage."""

    run_id: str
    client: "MlflowClient"

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log values at one step, in one write."""
        import mlflow

        mlflow.log_metrics(dict(metrics), step=step, run_id=self.run_id)

    def log_text(self, text: str, name: str) -> None:
        """Log text as an artifact file called `name`."""
        self.client.log_text(self.run_id, text, name)

    def log_artifact(self, path: Path) -> None:
        """Log a file, or a folder with its content, as an artifact."""
        self.client.log_artifact(self.run_id, str(path))


class NoOpRun:
    """The run of a process other than the main one; it records nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Do nothing."""

    def log_text(self, text: str, name: str) -> None:
        """Do nothing."""


def default_tracking_uri() -> str:
    """Return the store to use if MLFLOW_TRACKING_URI is not set."""
    return f"{_SQLITE}{Path.cwd() / '.mlflow' / 'mlflow.db'}"


def tracking_uri() -> str:
    """Return the tracking store's address.

    Raises:
        CacError: MLFLOW_TRACKING_URI names a folder, which would be MLflow's file store.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or default_tracking_uri()
    if "://" not in uri or uri.startswith("file:"):
        raise CacError(
            f"MLFLOW_TRACKING_URI={uri} is a folder; MLflow's file store is not supported. "
            f"Unset it, or name a database or server such as {_SQLITE}/path/to/mlflow.db or http://host:5000."
        )
    return uri


def store_file() -> Path | None:
    """Return the store's SQLite file, which need not exist; None if the store is a server.

    Raises:
        CacError: as `tracking_uri`.
    """
    uri = tracking_uri()
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def require_store() -> None:
    """Check that the store exists, if it is a SQLite file; nothing is created, and MLflow is not imported.

    Raises:
        CacError: there is no such file, or it is not MLflow's database.
    """
    database = store_file()
    if database is not None:
        _require_database(database)


def connect(*, create: bool = False) -> "MlflowClient":
    """Point MLflow at the store and return a client.

    MLflow also writes the address to MLFLOW_TRACKING_URI of this process, so that child processes use the same store.

    Args:
        create: make the store if it is a SQLite file that does not exist. Only what trains or registers may, so that
            reading in a wrong folder leaves nothing there.

    Raises:
        CacError: the address is not supported, there is no store, it is not MLflow's, or it cannot be written.
    """
    uri = tracking_uri()
    database = store_file()
    if database is not None:
        _check_store(database, create)
    # Set before MLflow is imported: a pipeline without a network must not wait for telemetry.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    for noisy in ("mlflow.store.db.utils", "mlflow.pyfunc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if database is not None:
        _create_atomically(database)
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient()


def _check_store(database: Path, create: bool) -> None:
    if create:
        _make_writable(database.absolute().parent / "artifacts")
    if database.exists() or not create:
        _require_database(database)
    if not os.access(database.absolute().parent, os.W_OK):
        raise CacError(f"cannot write to {database.absolute().parent}, where MLflow stores its data. {_WRITABLE_HINT}")


def _require_database(database: Path) -> None:
    if not database.is_file():
        raise CacError(
            f"there is no MLflow store at {database}. Run in the project's folder, name a store with "
            "MLFLOW_TRACKING_URI, or train and register a model first: `make run`."
        )
    if reason := _why_not_mlflow(database):
        raise CacError(
            f"{database} is not an MLflow store: {reason}. Restore it from a backup, or name another store with "
            "MLFLOW_TRACKING_URI."
        )


def _why_not_mlflow(database: Path) -> str | None:
    """Return why a file is not MLflow's database; None if it is. MLflow would fill an empty file with its tables."""
    address = f"{database.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=_SQLITE_SECONDS)) as connection:
            found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    except sqlite3.OperationalError:  # locked, or unreadable here: not a matter of what it holds
        return None
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found else "it has no tables of MLflow"


def _create_atomically(database: Path) -> None:
    """Create a SQLite store if there is none, under a temporary name first, so that it is never incomplete.

    MLflow creates a store with about fifty migrations. It can neither resume nor restart them after a kill.
    """
    if database.exists():
        return
    import mlflow

    partial = database.with_name(f"{database.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        mlflow.MlflowClient(tracking_uri=f"{_SQLITE}{partial.absolute()}").search_experiments()
        os.link(partial, database)
    except FileExistsError:
        pass  # another process was faster
    except OSError:  # a file system without hard links
        partial.rename(database)
    finally:
        partial.unlink(missing_ok=True)


def _artifacts_beside(uri: str) -> Path:
    """Return the artifact folder beside a SQLite file, absolute."""
    return Path(uri.removeprefix(_SQLITE)).absolute().parent / "artifacts"


def _make_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CacError(f"cannot create {folder} for MLflow: {error.strerror}. {_WRITABLE_HINT}") from error
    for needed in (folder, folder.parent):
        if not os.access(needed, os.W_OK):
            raise CacError(f"cannot write to {needed}, where MLflow stores its data. {_WRITABLE_HINT}")


_WRITABLE_HINT = "Run in a writable folder, or set MLFLOW_TRACKING_URI to another store."


def experiment_id(client: "MlflowClient", name: str) -> str:
    """Return the experiment's id, creating it if needed with its artifacts beside a SQLite store.

    Raises:
        CacError: the experiment was deleted, or its artifacts are elsewhere because the checkout was moved.
    """
    uri = tracking_uri()
    local_artifacts = _artifacts_beside(uri).as_uri() if uri.startswith(_SQLITE) else None
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return client.create_experiment(name, artifact_location=local_artifacts)
    if experiment.lifecycle_stage == "deleted":
        raise CacError(
            f"MLflow experiment {name!r} is deleted. Restore it with "
            f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`, or change registry.experiment."
        )
    if uri == default_tracking_uri() and experiment.artifact_location != local_artifacts:
        raise CacError(
            f"MLflow experiment {name!r} stores its artifacts in {experiment.artifact_location}, not beside its "
            f"database "
            f"({local_artifacts}): the folder was moved. Move it back, or remove .mlflow to start with an empty store."
        )
    return experiment.experiment_id


@contextmanager
def stage_run(stage: str, params: Params) -> Iterator[StageRun]:
    """Open the MLflow run of a stage, tagged with its run state, and log the stage's settings.

    The run ends as FINISHED, as KILLED on Ctrl-C, or as FAILED on any other error. If its process is killed, the next
    run on this machine ends it as KILLED. The project's root is the current folder. The stage's inputs are recorded at
    the start and must be unchanged at the end.

    Raises:
        CacError: the store cannot be used, or the stage's inputs changed during the run.
    """
    client, root = connect(create=True), Path.cwd()
    state = read_run_state(root, params)
    experiment = experiment_id(client, params.registry.experiment)
    end_orphaned_runs(client, experiment)
    tags = {"stage": stage, "processes": str(distributed.world_size()), PROCESS_TAG: process_identity(os.getpid())}
    with _run(experiment, {**tags, **state.tags()}) as run_id:
        import mlflow

        print(_describe_run(stage, run_id, state), flush=True)
        mlflow.log_params(flat_params(stage, params))
        _log_data(stage, state)
        with guard_inputs(root, stage) as inputs:
            client.log_dict(run_id, inputs, "inputs.json")
            yield StageRun(run_id, client)


@contextmanager
def _run(experiment: str, tags: dict[str, str]) -> Iterator[str]:
    """Open MLflow's active run, yield its id, and end it."""
    import mlflow

    run = mlflow.start_run(experiment_id=experiment, run_name=tags["stage"], tags=tags)
    status = "FAILED"
    try:
        yield run.info.run_id
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except Exception as error:
        if is_unreachable(error):
            os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # the retries have already failed
        raise
    finally:
        mlflow.end_run(status)


@contextmanager
def shared_run(stage: str, params: Params) -> Iterator[StageRun | NoOpRun]:
    """Open the run of a stage with several processes: `stage_run` in the main process, a no-op run in the others.

    Raises:
        CacError: as `stage_run`, in the main process.
    """
    if not distributed.is_main_process():
        yield NoOpRun()
        return
    with stage_run(stage, params) as run:
        yield run


def _describe_run(stage: str, run_id: str, state: RunState) -> str:
    """Return the line that identifies a stage's log: its MLflow run, commit and data."""
    facts = {"stage": stage, "mlflow_run": run_id, "git_commit": state.git_commit, "data_md5": state.data_md5}
    return " ".join(f"{name}={value}" for name, value in facts.items())


def flat_params(stage: str, params: Params) -> dict[str, Any]:
    """Return the settings a stage reads as {"section.key": value}."""
    return {key: value for name, section in params.sections(stage).items() for key, value in _flatten(name, section)}


def _flatten(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield name, value
        return
    for key, inner in value.items():
        yield from _flatten(f"{name}.{key}", inner)


def _log_data(stage: str, state: RunState) -> None:
    """Record the run's dataset under its DVC hash, so that MLflow and DVC use the same name."""
    if state.data_md5 == UNKNOWN:
        return
    import mlflow
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    source = CodeDatasetSource(tags={"dvc_file": str(DATA_DVC), "git_commit": state.git_commit})
    dataset = MetaDataset(source, name="data", digest=state.data_md5)  # type: ignore[abstract]  # MetaDataset does not define all abstract methods
    mlflow.log_input(dataset, context=stage)
