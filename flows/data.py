"""The dataset a run starts from: `data/` must be what `data.dvc` names. `python -m flows.data` is `make data`.

A missing folder is taken from DVC's cache or rendered anew; one that differs is never touched, because only its owner
knows which of the two is right.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from cac.errors import CacError
from flows.support.environment import LOCK_FILE, prepare
from flows.support.exits import guarded
from flows.support.run_lock import run_lock
from flows.support.subprocesses import RUNNER

_POINTER = "data.dvc"
_SHOWN = 3  # lines of a failed command that are shown again


def ensure_data(root: Path) -> None:
    """Make sure that `data/` is there, is what `data.dvc` names, and is in DVC's cache.

    Raises:
        CacError: there is no `data.dvc`, the folder differs from it, or the sample could not be rendered.
        KeyboardInterrupt: a signal asked the run to end.
    """
    if not (root / _POINTER).is_file():
        raise CacError(
            f"no {_POINTER} in {root}. Run from the project's root; a new dataset is named by `dvc add data`."
        )
    if not (root / "data").is_dir():
        _fetch(root)
    state = _state(root)
    if state == "not in cache":
        _run(root, ("dvc", "--wait-for-lock", "commit", "--quiet", _POINTER))
    elif state is not None:
        raise CacError(
            f"data/ is not what {_POINTER} names ({state}). If data/ is right: `dvc add data`, and commit {_POINTER}. "
            f"If {_POINTER} is right: move data/ away and run again; it is then made anew, or fetched by `dvc pull`."
        )


def _fetch(root: Path) -> None:
    """Check the folder out of DVC's cache, or else render the sample."""
    if _state(root) == "deleted":
        return _run(root, ("dvc", "--wait-for-lock", "checkout", "--quiet", _POINTER))
    print("rendering the sample dataset", flush=True)
    return _run(root, ("cac", "data", "build", "--out", "data"))


def _state(root: Path) -> str | None:
    """Return what DVC says of `data/`: None if all is well, else "modified", "deleted" or "not in cache"."""
    command = (sys.executable, "-m", "dvc", "--wait-for-lock", "status", "--json", _POINTER)
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise CacError(f"`dvc status {_POINTER}` failed: {answer.stderr.strip()}")
    changes = json.loads(answer.stdout).get(_POINTER, [])
    return next((state for change in changes for state in change["changed outs"].values()), None)


def _run(root: Path, module: tuple[str, ...]) -> None:
    finished = RUNNER.run((sys.executable, "-m", *module), print, root)
    if RUNNER.interrupted:
        raise KeyboardInterrupt
    if finished.code:
        raise CacError("the dataset could not be made ready: " + "\n".join(finished.tail[-_SHOWN:]))


@guarded("Interrupted. `make data` starts over.")
def main() -> int:
    """Make the dataset ready and return the exit code."""
    argparse.ArgumentParser(prog="python -m flows.data", description="Make data/ what data.dvc names.").parse_args()
    prepare(Path.cwd())
    with run_lock(Path.cwd() / LOCK_FILE) as lock, RUNNER.stopped_by_signals():
        RUNNER.lock = lock
        ensure_data(Path.cwd())
    print("data/ is ready: it is what data.dvc names.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
