"""What a verb of `python -m flows` needs, checked before it takes a lock or starts a server.

A mistake then leaves the folder as it was, and is an error that the user sees at once. Out of scope: what only a server
or a bucket can answer.
"""

from pathlib import Path

from cac.batch.listing import open_source
from cac.data.versions.groups import SplitRatios
from cac.errors import CacError
from cac.io.git import read_git
from cac.io.s3 import Bucket
from cac.params import Params, load_params
from cac.paths import DATA_DVC, DATASET, DVC_YAML
from cac.registry.model_uri import parse_model_uri
from cac.tracking.mlflow_runs import require_store


def require_stages(root: Path) -> Params:
    """Return the settings of the project at `root`, which must have stages and a dataset version.

    Raises:
        CacError: `root` has no valid settings, no stages, or no dataset version.
    """
    params = load_params(root / "params.yaml")
    if not (root / DVC_YAML).is_file():
        raise CacError(f"no {DVC_YAML} in {root}. Run from the project's root, or restore the file from git.")
    require_data_version(root)
    return params


def require_data_version(root: Path) -> None:
    """Check that `root` has the file that names the dataset's version.

    Raises:
        CacError: it has none.
    """
    if not (root / DATA_DVC).is_file():
        raise CacError(f"no {DATA_DVC} in {root}. Run from the project's root, or add a dataset: `dvc add {DATASET}`.")


def check_ingestion(root: Path, landing: str, branch: str, ratios: tuple[float | None, float | None]) -> None:
    """Check what an ingestion is given.

    Raises:
        CacError: `root` is no project in a git repository, `landing` no S3 URL, `branch` no name of a branch, or the
            ratios are out of range.
    """
    load_params(root / "params.yaml")
    require_data_version(root)
    Bucket(landing)
    val, test = ratios
    if (val is None) != (test is None):
        raise CacError("--val-ratio and --test-ratio go together. Give both, or neither to use the dataset's card.")
    if val is not None and test is not None:
        SplitRatios(val, test)
    if read_git(root, "rev-parse", "--show-toplevel") is None:
        raise CacError(f"{root} is in no git repository, which keeps the dataset's versions. Run `git init` first.")
    if read_git(root, "check-ref-format", "--branch", branch) is None:
        raise CacError(f"--branch {branch!r} is not a name that git allows for a branch. Choose another.")


def check_monitoring(root: Path, source: str | None) -> None:
    """Check what a monitoring is given.

    Raises:
        CacError: `root` is no project, it has no MLflow store, or there is no such folder.
    """
    params = load_params(root / "params.yaml")
    source = source or params.monitoring.source
    if source is not None:
        require_store()
        if "{date}" not in source:
            open_source(source)


def check_experiment(uri: str, seeds: int) -> None:
    """Check which model the downstream experiment is given, and how many runs.

    Raises:
        CacError: there is no MLflow store, or an argument is wrong.
    """
    if seeds < 1:
        raise CacError(f"--seeds {seeds} must be at least 1.")
    parse_model_uri(uri)
    require_store()
