"""Train a registered version again and compare the hashes: `python -m flows reproduce VERSION`, or `cac reproduce`.

The version's commit is checked out in a git worktree, its dataset is restored there, and its stages run again one by
one; then DVC's hashes of their outputs are compared with those in the version's tags. The worktree has its own DVC
cache and MLflow store, so it cannot reuse old results and changes nothing elsewhere. It is in `.scratch/reproduce/`
and is removed if all hashes are equal.

The stages run the commit's own code in the present environment. Out of scope: other machines. Expect equal bytes on the
same kind of processor with the recorded environment; known differences are printed first.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

from cac.cli.console import print_error
from cac.cli.registry_tables import print_reproduction
from cac.errors import CacError
from cac.io.git import read_git
from cac.paths import DVC_YAML, SCRATCH
from cac.registry.reproduction import HashComparison, RecordedLineage, read_recorded_lineage
from cac.tracking.dvc_files import read_locked_stages, read_yaml
from flows.data import ensure_data
from flows.support.dvc_sharing import cache_folder, fetch_data, isolate_cache, run_dvc, use_cache
from flows.support.environment import stay_offline
from flows.support.git_worktree import GitWorktree
from flows.support.run_lock import run_lock
from flows.support.subprocesses import RUNNER

FOLDER = SCRATCH / "reproduce"
PROGRESS = SCRATCH / "reproduced.json"  # in the worktree: the finished stages
_BIN = SCRATCH / "bin"  # in the worktree: the command `cac`

# Runs with the commit's own code, which hashes its settings as they were hashed at registration.
_READ_RUN_STATE = """
import json, pathlib, cac, cac.params
try:
    from cac.tracking.run_state import read_run_state
except ImportError:
    try:
        from cac.tracking.run_state import fingerprint as read_run_state
    except ImportError:
        from cac.registry.fingerprint import fingerprint as read_run_state
state = read_run_state(pathlib.Path.cwd(), cac.params.load_params(pathlib.Path("params.yaml")))
print(json.dumps({"package": cac.__file__, **state.tags()}))
"""
# The installed command `cac` imports the present entry point, which older commits do not have.
_ENTRY_POINT = """
import sys
try:
    from cac.cli.main import main
except ModuleNotFoundError:
    from cac.cli import main
sys.argv[0] = "cac"
sys.exit(main())
"""


@dataclass(frozen=True)
class _ReproductionWorktree(GitWorktree):
    commit: str

    @property
    def project_folder(self) -> Path:
        """The folder in the worktree that corresponds to the project's folder in the checkout."""
        return self.path / (read_git(self.project, "rev-parse", "--show-prefix") or "")

    def open(self) -> None:
        """Check out the commit, or resume in the worktree of an interrupted run."""
        if self.find_head() == self.commit:
            print(f"resuming in {self.path}", flush=True)
        else:
            self.create_detached(self.commit)


def reproduce(root: Path, version: str, *, use_cache: bool, keep: bool) -> int:
    """Reproduce a version of the project in `root` and return the exit code: 1 if a stage failed or hashes differ.

    Args:
        root: the checkout.
        version: a version's number or an alias.
        use_cache: whether DVC may take results from the checkout's cache.
        keep: whether to keep the worktree even if all hashes are equal.

    Raises:
        CacError: the version cannot be reproduced; the message says which commit to use instead, where one can.
        KeyboardInterrupt: the run was interrupted by a signal.
    """
    recorded = read_recorded_lineage(root, version)
    folder = (root / FOLDER / f"version-{recorded.version}").absolute()
    with run_lock(folder.with_suffix(".lock")) as lock, RUNNER.stopped_by_signals():
        RUNNER.lock = lock
        worktree = _ReproductionWorktree(root, folder, recorded.commit)
        return _Reproduction(worktree, recorded, use_cache, keep).run()


@dataclass(frozen=True)
class _Reproduction:
    worktree: _ReproductionWorktree
    recorded: RecordedLineage
    use_cache: bool
    keep: bool

    @property
    def project(self) -> Path:
        return self.worktree.project_folder

    def run(self) -> int:
        self.worktree.open()
        self._prepare()
        inputs = self.recorded.compare_state(self._read_run_state())
        for line in inputs:
            if not line.same:
                print(f"note: the {line.what} is not the one recorded, so results may differ", flush=True)
        stages = sort_stages(read_yaml(self.project / DVC_YAML)["stages"], self.recorded.outputs)
        if failed := self._run_stages(stages):
            print_error(
                f"{failed} failed; its output is above. The same command tries again in {self.project}. "
                f"If the commit's code does not fit this environment: {self._own_commit_hint()}"
            )
            return 1
        locked = read_locked_stages(self.project)
        outputs = self.recorded.compare_outputs({stage: locked[stage].outputs for stage in stages})
        (self.project / PROGRESS).unlink(missing_ok=True)
        return self._report([*inputs, *outputs])

    def _own_commit_hint(self) -> str:
        """Return how to reproduce the version with the code and the packages of its commit."""
        commit = self.recorded.commit
        return f"`git checkout {commit} && make install && cac reproduce {self.recorded.version}`"

    def _prepare(self) -> None:
        """Let all further commands run the commit's own code with its own stores, and restore the dataset."""
        python_path = (str(self.project / "src"), os.environ.get("PYTHONPATH"))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, python_path))
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        if read_yaml(self.project / "params.yaml")["model"]["base"] == "nano":
            stay_offline()
        put_entry_point_on_path(self.project / _BIN)
        share = use_cache if self.use_cache else isolate_cache
        share(self.project, cache_folder(self.worktree.project))
        if not (self.project / "data").is_dir():
            fetch_data(self.project, from_checkout=not self.use_cache)
        ensure_data(self.project)

    def _read_run_state(self) -> dict[str, str]:
        """Return the run state of the worktree as the commit's own code computes it.

        Raises:
            CacError: the commit's code fails, or Python would import another package than the commit's.
        """
        command = (sys.executable, "-c", _READ_RUN_STATE)
        answer = subprocess.run(command, cwd=self.project, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise CacError(
                f"the code of commit {self.recorded.commit} does not run in this environment: "
                f"{answer.stderr.strip()}\nReproduce the version from its own commit: {self._own_commit_hint()}"
            )
        state: dict[str, str] = json.loads(answer.stdout.splitlines()[-1])
        expected = self.project / "src" / "cac" / "__init__.py"
        package = Path(state.pop("package"))
        if expected.is_file() and package.resolve() != expected.resolve():
            raise CacError(f"Python imports `cac` from {package}, not from {expected}. Install it: `make install`.")
        return state

    def _run_stages(self, stages: Sequence[str]) -> str | None:
        """Run the stages in order, except those finished before an interruption; return the one that failed."""
        progress = self.project / PROGRESS
        resumes = progress.is_file() and not self.use_cache
        done: list[str] = json.loads(progress.read_text(encoding="utf-8")) if resumes else []
        force = () if self.use_cache else ("--force",)
        for stage in stages:
            if stage in done:
                print(f"{stage}: done before", flush=True)
                continue
            if run_dvc(self.project, ("repro", "--single-item", *force, stage), print):
                return stage
            done.append(stage)
            _write_progress(progress, done)
        return None

    def _report(self, lines: list[HashComparison]) -> int:
        print_reproduction(lines)
        same = all(line.same for line in lines if line.counts)
        verdict = "reproduced" if same else "NOT reproduced"
        print(f"version {self.recorded.version} is {verdict} at commit {self.recorded.commit}")
        if same and not self.keep:
            self.worktree.remove()
        else:
            print(f"the worktree is kept: {self.project}")
        return 0 if same else 1


def put_entry_point_on_path(folder: Path) -> None:
    """Write the command `cac` to a folder and put it first on the path; it finds the entry point of any commit."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "cac"
    script.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -c {shlex.quote(_ENTRY_POINT)} "$@"\n', encoding="utf-8"
    )
    script.chmod(0o755)
    os.environ["PATH"] = os.pathsep.join((str(folder.absolute()), os.environ.get("PATH", os.defpath)))


def _write_progress(path: Path, done: list[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(done), encoding="utf-8")
    partial.rename(path)


def sort_stages(graph: Mapping[str, Any], outputs: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the stages of `outputs`, {stage: {path: md5}}, that dvc.yaml has, each after the stages it reads from."""
    after = {
        stage: {other for other in outputs if other != stage and _reads(graph[stage].get("deps", []), outputs[other])}
        for stage in outputs
        if stage in graph
    }
    return [stage for stage in TopologicalSorter(after).static_order() if stage in graph]


def _reads(deps: Sequence[str], outputs: Iterable[str]) -> bool:
    """Whether one of the dependencies is an output, is in one, or contains one."""
    pairs = [(PurePosixPath(dep), PurePosixPath(out)) for dep in deps for out in outputs]
    return any(dep.is_relative_to(out) or out.is_relative_to(dep) for dep, out in pairs)
