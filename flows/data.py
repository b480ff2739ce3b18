"""The dataset a run starts from: `data/` must match `data.dvc`. `make data` runs this alone.

A missing folder is checked out from DVC's cache or rendered again. A folder that differs is never changed, because only
its owner knows which of the two is right.
"""

import json
import subprocess
import sys
from pathlib import Path

from cac.errors import CacError
from cac.paths import DATA_DVC, DATASET
from flows.support.preconditions import require_data_version
from flows.support.subprocesses import RUNNER

_MOST_LINES = 3  # of a failed command's output
_DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")


def ensure_data(root: Path) -> None:
    """Make sure that `data/` exists, matches `data.dvc`, and is in DVC's cache.

    Raises:
        CacError: there is no `data.dvc`, the folder differs from it, or the sample could not be rendered.
        KeyboardInterrupt: the run was interrupted by a signal.
    """
    require_data_version(root)
    if not (root / DATASET).is_dir():
        _restore(root)
    status = _status(root)
    if status == "not in cache":
        _run(root, (*_DVC, "commit", "--quiet", str(DATA_DVC)))
    elif status is not None:
        raise CacError(
            f"{DATASET}/ does not match {DATA_DVC} ({status}). If {DATASET}/ is right: `dvc add {DATASET}`, and commit "
            f"{DATA_DVC}. If {DATA_DVC} is right: move {DATASET}/ away and run again: the sample is rendered. "
            "Fetch any other dataset with `dvc pull`."
        )


def _restore(root: Path) -> None:
    """Check the folder out of DVC's cache, or render the sample."""
    if _status(root) == "deleted":
        return _run(root, (*_DVC, "checkout", "--quiet", str(DATA_DVC)))
    print("rendering the sample dataset", flush=True)
    # The console script, not `python -m cac`: commits before the package `cac.cli` have no `cac.__main__`.
    return _run(root, ("cac", "data", "build", "--out", str(DATASET)))


def _status(root: Path) -> str | None:
    """Return DVC's status of `data/`: None if it is unchanged, else "modified", "deleted" or "not in cache"."""
    command = (*_DVC, "status", "--json", str(DATA_DVC))
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise CacError(f"`dvc status {DATA_DVC}` failed: {answer.stderr.strip()}")
    changes = json.loads(answer.stdout).get(str(DATA_DVC), [])
    return next((status for change in changes for status in change["changed outs"].values()), None)


def _run(root: Path, command: tuple[str, ...]) -> None:
    finished = RUNNER.run(command, print, root)
    if RUNNER.interrupted:
        raise KeyboardInterrupt
    if finished.code:
        raise CacError("the dataset could not be prepared: " + "\n".join(finished.tail[-_MOST_LINES:]))
