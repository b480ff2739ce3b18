"""`python -m flows.reproduce VERSION`: is a registered version what its lineage says? `cac reproduce` calls it.

The version's commit is checked out in a git worktree of its own, its data is made there, and its stages run anew, one
by one; then DVC's hashes of what they made are held against those in the version's tags. The worktree has a DVC cache
and an MLflow store of its own, so nothing old can be taken for something new, and what differs reaches nobody. It lies
in `.scratch/reproduce/` and is removed if all was the same.

It is in `flows/` because it runs DVC, which `src/` does not know. Left out: other machines. Equal bytes can be expected
of the same kind of processor and the recorded environment; what is known to differ is said first.

Exit codes: 0 the same; 1 a stage failed, or hashes differ; 2 a mistake the user can mend; 130 interrupted.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

from cac.cli.console import print_error
from cac.cli.registry_tables import print_reproduction
from cac.errors import CacError
from cac.io.git import read_git
from cac.paths import DATA_DVC, DVC_YAML, SCRATCH
from cac.registry.reproduction import HashComparison, RecordedLineage, read_recorded_lineage
from cac.tracking.dvc_files import read_locked_stages, read_yaml
from flows.data import ensure_data
from flows.support.environment import prepare, stay_offline
from flows.support.exits import guarded
from flows.support.run_lock import run_lock
from flows.support.subprocesses import RUNNER

FOLDER = SCRATCH / "reproduce"
PROGRESS = SCRATCH / "reproduced.json"  # in the worktree: the stages that are done
_REMOTE = "cache-of-the-checkout"
_INTERRUPTED = (
    "Interrupted. Stages that are done are kept, and checkpoints of the one at work; the same command goes on."
)
# Run by the commit's own code, because only that code hashes its settings as they were hashed then.
_RUN_STATE = """
import json, pathlib, cac, cac.params
try:
    from cac.tracking.run_state import read_run_state
except ImportError:  # commits before 30 November 2026
    from cac.registry.fingerprint import fingerprint as read_run_state
state = read_run_state(pathlib.Path.cwd(), cac.params.load_params(pathlib.Path("params.yaml")))
print(json.dumps({"package": cac.__file__, **state.tags()}))
"""


@guarded(_INTERRUPTED)
def main(argv: Sequence[str] | None = None) -> int:
    """Reproduce a version of the project in the current folder and return the exit code."""
    parser = argparse.ArgumentParser(prog="cac reproduce", description="Make a registered version again, and compare.")
    parser.add_argument("version", metavar="VERSION", help="a version's number, or an alias such as champion")
    parser.add_argument("--use-cache", action="store_true", help="let DVC take results from this checkout's cache")
    parser.add_argument("--keep", action="store_true", help="keep the worktree also if all is the same")
    args = parser.parse_args(argv)
    root = Path.cwd()
    prepare(root)
    recorded = read_recorded_lineage(root, args.version)
    folder = (root / FOLDER / f"version-{recorded.version}").absolute()
    with run_lock(folder.with_suffix(".lock")) as lock, RUNNER.stopped_by_signals():
        RUNNER.lock = lock
        return _reproduce(Worktree(root, folder, recorded.commit), recorded, args.use_cache, args.keep)


class Worktree:
    """A git worktree at one commit; `project` is in it what `root` is in its own checkout."""

    def __init__(self, root: Path, folder: Path, commit: str) -> None:
        self._root, self._folder, self._commit = root, folder, commit
        self.project = folder / (read_git(root, "rev-parse", "--show-prefix") or "")
        self.cache = _dvc_cache(root)

    def open(self) -> None:
        """Check the commit out; a worktree that an interrupted run left is gone on with."""
        if (self._folder / ".git").is_file() and read_git(self._folder, "rev-parse", "HEAD") == self._commit:
            print(f"going on in {self._folder}", flush=True)
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        self._git("worktree", "prune")
        self._git("worktree", "add", "--detach", str(self._folder), self._commit)

    def remove(self) -> None:
        """Remove the worktree with all that is in it."""
        self._git("worktree", "remove", "--force", str(self._folder))

    def _git(self, *arguments: str) -> None:
        done = subprocess.run(("git", "-C", str(self._root), *arguments), capture_output=True, text=True, check=False)
        if done.returncode:
            raise CacError(f"`git {' '.join(arguments)}` failed: {done.stderr.strip()}")


def _dvc_cache(root: Path) -> str:
    """Return the folder of a checkout's DVC cache."""
    command = (sys.executable, "-m", "dvc", "cache", "dir")
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise CacError(f"`dvc cache dir` failed in {root}: {answer.stderr.strip()}")
    return str((root / answer.stdout.strip()).resolve())


def _reproduce(worktree: Worktree, recorded: RecordedLineage, use_cache: bool, keep: bool) -> int:
    project = worktree.project
    worktree.open()
    _isolate(project)
    _share_cache(project, worktree.cache, use_cache)
    _make_data(project, use_cache)
    before = recorded.compare_state(_state(project))
    for line in before:
        if not line.same:
            print(f"note: the {line.what} is not the one recorded, so results may differ", flush=True)
    order = in_order(read_yaml(project / DVC_YAML)["stages"], recorded.outputs)
    failed = _run_stages(project, order, use_cache)
    if failed:
        print_error(f"{failed} failed; what it said is above. The same command tries again in {project}")
        return 1
    locked = read_locked_stages(project)
    made = {stage: locked[stage].outputs for stage in order}
    (project / PROGRESS).unlink(missing_ok=True)
    return _conclude(worktree, recorded, [*before, *recorded.compare_outputs(made)], keep)


def _isolate(project: Path) -> None:
    """Let every command from here on run the commit's own code, and write to a store of its own."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(project / "src"), os.environ.get("PYTHONPATH"))))
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if read_yaml(project / "params.yaml")["model"]["base"] == "nano":
        stay_offline()


def _share_cache(project: Path, cache: str, use_cache: bool) -> None:
    """Let the worktree read the checkout's DVC cache as a remote; or have it as its own."""
    section = f"[cache]\n    dir = {cache}\n" if use_cache else f"['remote \"{_REMOTE}\"']\n    url = {cache}\n"
    (project / ".dvc" / "config.local").write_text(section, encoding="utf-8")


def _make_data(project: Path, use_cache: bool) -> None:
    """Make `data/` what the commit's data.dvc names: from the checkout's cache, a remote, or rendered anew."""
    remotes: tuple[tuple[str, ...], ...] = ((),) if use_cache else (("--remote", _REMOTE), ())
    for remote in () if (project / "data").is_dir() else remotes:
        fetched = _run(project, ("fetch", "--quiet", *remote, str(DATA_DVC)), show=False)
        if fetched == 0:
            break
    ensure_data(project)


def _state(project: Path) -> dict[str, str]:
    """Return the worktree's fingerprint as the commit's own code takes it.

    Raises:
        CacError: the commit's code fails, or another package than the commit's would run.
    """
    answer = subprocess.run(
        (sys.executable, "-c", _RUN_STATE), cwd=project, capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise CacError(f"the commit's own code does not run in this environment: {answer.stderr.strip()}")
    state = json.loads(answer.stdout.splitlines()[-1])
    own = project / "src" / "cac" / "__init__.py"
    package = Path(state.pop("package"))
    if own.is_file() and package.resolve() != own.resolve():
        raise CacError(f"Python takes `cac` from {package}, not from {own}. Install it editable: `make install`.")
    return state


def in_order(graph: Mapping[str, Any], outputs: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the stages of `outputs`, {stage: {path: md5}}, that dvc.yaml has, each after those it reads from."""
    after = {
        stage: {other for other in outputs if other != stage and _reads(graph[stage].get("deps", []), outputs[other])}
        for stage in outputs
        if stage in graph
    }
    return [stage for stage in TopologicalSorter(after).static_order() if stage in graph]


def _reads(deps: Sequence[str], outputs: Iterable[str]) -> bool:
    """Tell whether one of the dependencies is an output, lies in one, or holds one."""
    pairs = [(PurePosixPath(dep), PurePosixPath(out)) for dep in deps for out in outputs]
    return any(dep.is_relative_to(out) or out.is_relative_to(dep) for dep, out in pairs)


def _run_stages(project: Path, order: Sequence[str], use_cache: bool) -> str | None:
    """Run the stages in order, but those done before an interruption; return the one that failed."""
    progress = project / PROGRESS
    done = json.loads(progress.read_text(encoding="utf-8")) if progress.is_file() and not use_cache else []
    anew = () if use_cache else ("--force",)
    for stage in order:
        if stage in done:
            print(f"{stage}: done before", flush=True)
            continue
        if _run(project, ("--wait-for-lock", "repro", "--single-item", *anew, stage), show=True):
            return stage
        done.append(stage)
        _write(progress, done)
    return None


def _write(progress: Path, done: list[str]) -> None:
    progress.parent.mkdir(exist_ok=True)
    partial = progress.with_suffix(".partial")
    partial.write_text(json.dumps(done), encoding="utf-8")
    partial.rename(progress)


def _run(project: Path, arguments: tuple[str, ...], *, show: bool) -> int:
    """Run DVC and return its exit code.

    Raises:
        KeyboardInterrupt: a signal asked the run to end.
    """
    finished = RUNNER.run((sys.executable, "-m", "dvc", *arguments), print if show else _ignore, project)
    if RUNNER.interrupted:
        raise KeyboardInterrupt
    return finished.code


def _ignore(line: str) -> None:
    """Show nothing: that a remote has no data is no error, there are other ways to it."""


def _conclude(worktree: Worktree, recorded: RecordedLineage, result: list[HashComparison], keep: bool) -> int:
    print_reproduction(result)
    same = all(line.same for line in result if line.counts)
    print(f"version {recorded.version} is {'reproduced' if same else 'NOT reproduced'} at commit {recorded.commit}")
    if same and not keep:
        worktree.remove()
    else:
        print(f"the worktree is kept: {worktree.project}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
