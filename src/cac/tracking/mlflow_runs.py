"""Where MLflow lives, and one MLflow run a stage.

The store is the one MLFLOW_TRACKING_URI names, else a SQLite file in `.mlflow/` of the current folder, with the
artifacts beside it. MLflow's file store is refused: it is deprecated, and has no model registry worth the name. Left
out: autologging and MLflow's trainer callbacks, which log hundreds of settings nobody asked for.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
        """Log a file, or a folder with all that is in it, as an artifact."""
        self.client.log_artifact(self.run_id, str(path))


class NoOpRun:
    """The run of a process that leaves recording to the main one."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Do nothing."""

    def log_text(self, text: str, name: str) -> None:
        """Do nothing."""


def default_tracking_uri() -> str:
    """Return the store used where MLFLOW_TRACKING_URI is not set."""
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


def connect() -> "MlflowClient":
    """Point MLflow at the store, create it if it is a SQLite file, and return a client.

    MLflow also writes the address to MLFLOW_TRACKING_URI of this process, so that child processes use the same store.

    Raises:
        CacError: the address is not supported, or its folder cannot be written.
    """
    uri = tracking_uri()
    if uri.startswith(_SQLITE):
        _make_writable(_artifacts_beside(uri))
    # Set before MLflow is imported: a pipeline that runs without a network should not try to call home.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    for noisy in ("mlflow.store.db.utils", "mlflow.pyfunc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if uri.startswith(_SQLITE):
        _create_whole(Path(uri.removeprefix(_SQLITE)))
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient()


def _create_whole(database: Path) -> None:
    """Make a SQLite store that is not there yet: under another name first, so that it is there whole or not at all.

    MLflow makes one by some fifty migrations, and one that was killed among them can neither go on nor begin again.
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
            raise CacError(f"cannot write to {needed}, where MLflow keeps its records. {_WRITABLE_HINT}")


_WRITABLE_HINT = "Run from a folder you may write to, or set MLFLOW_TRACKING_URI to a store elsewhere."


def experiment_id(client: "MlflowClient", name: str) -> str:
    """Return the experiment's id, creating it if needed with its artifacts beside a SQLite store.

    Raises:
        CacError: the experiment was deleted, or it keeps its artifacts in a folder this checkout was moved from.
    """
    uri = tracking_uri()
    own_artifacts = _artifacts_beside(uri).as_uri() if uri.startswith(_SQLITE) else None
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return client.create_experiment(name, artifact_location=own_artifacts)
    if experiment.lifecycle_stage == "deleted":
        raise CacError(
            f"MLflow experiment {name!r} is deleted. Restore it with "
            f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`, or name another in registry."
        )
    if uri == default_tracking_uri() and experiment.artifact_location != own_artifacts:
        raise CacError(
            f"MLflow experiment {name!r} keeps its files in {experiment.artifact_location}, not beside its database "
            f"({own_artifacts}): the folder was moved. Move it back, or remove .mlflow to start anew."
        )
    return experiment.experiment_id


@contextmanager
def stage_run(stage: str, params: Params) -> Iterator[StageRun]:
    """Open the MLflow run of a stage: tagged with what it was made from, its settings logged flat.

    The run ends FINISHED, KILLED on Ctrl-C, FAILED on any other error; one of this machine whose process was killed is
    ended as KILLED by the next. The project's root is the current folder. What the stage reads is written down as it
    begins, and must be the same at the end.

    Raises:
        CacError: the store cannot be used; or, at the end, what the stage reads has changed.
    """
    client, root = connect(), Path.cwd()
    state = read_run_state(root, params)
    experiment = experiment_id(client, params.registry.experiment)
    end_orphaned_runs(client, experiment)
    own = {"stage": stage, "processes": str(distributed.world_size()), PROCESS_TAG: process_identity(os.getpid())}
    with _run(experiment, {**own, **state.tags()}) as run_id:
        import mlflow

        print(_who(stage, run_id, state), flush=True)
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
            os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # it was waited for long enough
        raise
    finally:
        mlflow.end_run(status)


@contextmanager
def shared_run(stage: str, params: Params) -> Iterator[StageRun | NoOpRun]:
    """Open the run of a stage that several processes work at: as `stage_run` in the main one; others record nothing.

    Raises:
        CacError: as `stage_run`, in the main process.
    """
    if not distributed.is_main_process():
        yield NoOpRun()
        return
    with stage_run(stage, params) as run:
        yield run


def _who(stage: str, run_id: str, state: RunState) -> str:
    """Return the line by which a stage's log is found again: its MLflow run, and what it works on."""
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
    """Record which dataset the run used, under DVC's own hash, so that both systems name it alike."""
    if state.data_md5 == UNKNOWN:
        return
    import mlflow
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    source = CodeDatasetSource(tags={"dvc_file": str(DATA_DVC), "git_commit": state.git_commit})
    dataset = MetaDataset(source, name="data", digest=state.data_md5)  # type: ignore[abstract]  # MLflow's own slip
    mlflow.log_input(dataset, context=stage)
