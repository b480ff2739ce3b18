"""The clean git worktree a retraining works in: one commit's files, this checkout's DVC cache and remotes.

It is `.retraining/` of the checkout and stays until a retraining is complete, so an interrupted one is gone on with:
finished stages stand in its dvc.lock, a stage's checkpoints in its scratch folder. The results of a commit go to a
branch that is named after the commit and its data; a ref of that name in `refs/cac/retrained/`, written when all is
over, tells that the commit is done. Left out: merging that branch, which people do.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cac.errors import CacError
from cac.io.git import read_git
from cac.paths import COMPARISONS, EVALUATION_METRICS
from cac.tracking.mlflow_runs import default_tracking_uri
from cac.tracking.run_state import data_md5, stage_hashes

PLACE = Path(".retraining")
LOCK_FILE = "dvc.lock"
RESULTS = (LOCK_FILE, EVALUATION_METRICS.as_posix(), COMPARISONS.as_posix())  # what a retraining changes of git's files

_REQUIREMENTS = "requirements.lock"
_NAME_LENGTH = 8
# A machine's commits are not a person's, and hooks are for people's.
_IDENTITY = ("user.name=CaC retraining", "user.email=retraining@cac.invalid", "core.hooksPath=/dev/null")
_GIT = ("git", *(word for setting in _IDENTITY for word in ("-c", setting)))


@dataclass(frozen=True)
class Worktree:
    """A worktree at `path` of the checkout `project`, for the retraining of `commit`, whose results go to `branch`."""

    project: Path
    path: Path
    commit: str
    branch: str

    @property
    def head(self) -> str:
        """The commit it stands on: `commit`, or the one with its results."""
        return git(self.path, "rev-parse", "HEAD")

    def changed(self) -> list[str]:
        """Return the paths of all files that differ from those of `head`, or are not among them."""
        lines = git(self.path, "status", "--porcelain", "--untracked-files=all", "--no-renames").splitlines()
        return [line.split(maxsplit=1)[1] for line in lines]

    @property
    def has_progress(self) -> bool:
        """Whether a retraining of this commit was begun here before."""
        return self.head != self.commit or LOCK_FILE in self.changed()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in the worktree: as current folder, with its code before the installed one, with the checkout's MLflow."""
        before = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "PYTHONPATH")}
        os.environ.setdefault("MLFLOW_TRACKING_URI", _checkouts_mlflow(self.project))
        inherited = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        os.environ["PYTHONPATH"] = os.pathsep.join((str(self.path / "src"), *inherited))
        try:
            with chdir(self.path):
                yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def git(folder: Path, *arguments: str) -> str:
    """Run a git command in `folder` and return what it prints.

    Raises:
        CacError: git refuses.
    """
    done = subprocess.run((*_GIT, *arguments), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CacError(f"`git {' '.join(arguments)}` failed in {folder}: {done.stderr.strip()}")
    return done.stdout.rstrip("\n")


def resolve(project: Path, revision: str) -> str:
    """Return the full hash of the commit that `revision` names now.

    Raises:
        CacError: git knows no such commit.
    """
    name = f"{revision}^{{commit}}"
    commit = read_git(project, "rev-parse", "--verify", "--quiet", "--end-of-options", name)
    if commit is None:
        raise CacError(
            f"{revision!r} names no commit of {project}. Name a branch, a tag or a hash that is there; one of a remote "
            "needs `git_remote` in the settings, and its name, such as origin/main."
        )
    return commit


def branch_of(project: Path, commit: str) -> str:
    """Return the name of the branch for a commit's results, such as "retraining/039b1aba-4290389a": data, then code.

    Raises:
        CacError: the commit has no data.dvc.
    """
    pointer = read_git(project, "show", f"{commit}:data.dvc")
    if pointer is None:
        raise CacError(f"commit {commit} has no data.dvc. A dataset is named by `dvc add data`; commit data.dvc.")
    return f"retraining/{md5_in(pointer)[:_NAME_LENGTH]}-{commit[:_NAME_LENGTH]}"


def md5_in(pointer: str) -> str:
    """Return the dataset's hash in the text of a data.dvc.

    Raises:
        CacError: it names none.
    """
    import yaml

    try:
        return str(yaml.safe_load(pointer)["outs"][0]["md5"])
    except (yaml.YAMLError, KeyError, IndexError, TypeError) as error:
        raise CacError("data.dvc does not name one output with its md5. Write it anew with `dvc add data`.") from error


def is_done(project: Path, branch: str) -> bool:
    """Tell whether the branch with a commit's results is there, and marked as what a whole retraining came to."""
    tip, done = (_commit_of(project, name) for name in (f"refs/heads/{branch}", _done_mark(branch)))
    return tip is not None and tip == done


def _done_mark(branch: str) -> str:
    return f"refs/cac/{branch.replace('retraining', 'retrained', 1)}"


def _commit_of(project: Path, ref: str) -> str | None:
    return read_git(project, "rev-parse", "--verify", "--quiet", ref)


def open_worktree(project: Path, commit: str, branch: str) -> Worktree:
    """Return the worktree, made or moved to `commit`; one that stands there, or on its results, stays as it is.

    Raises:
        CacError: git or DVC refuses, or the commit needs another environment than the checkout's.
    """
    tree = Worktree(project, project / PLACE, commit, branch)
    tip = _commit_of(project, f"refs/heads/{branch}")
    head = _head(tree.path)
    if head is None:
        _make(tree)
    elif head in (commit, tip):
        _restore(tree)
    else:
        _unlock(tree)
        git(tree.path, "checkout", "--quiet", "--force", "--detach", commit)
        git(tree.path, "clean", "--quiet", "--force", "-d")
    _check_environment(tree)
    _share_dvc(tree)
    return tree


def default_remote(project: Path) -> str | None:
    """Return the name of the checkout's default DVC remote; None if it has none."""
    from dvc.repo import Repo

    with Repo(str(project)) as repo:
        return repo.config["core"].get("remote")


def close(tree: Worktree) -> None:
    """Note that the retraining is over, and remove the worktree; what is in git and in DVC's cache stays."""
    tip = _commit_of(tree.project, f"refs/heads/{tree.branch}")
    if tip is not None:
        git(tree.project, "update-ref", _done_mark(tree.branch), tip)
    git(tree.project, "worktree", "remove", "--force", "--force", str(tree.path))


def commit_results(tree: Worktree) -> str:
    """Commit what the stages have changed, put the branch there, and return the commit's hash.

    Raises:
        CacError: something else than results has changed: the code that trained is not the commit's.
    """
    changed = tree.changed()
    if foreign := sorted(set(changed) - set(RESULTS)):
        raise CacError(
            f"files in {tree.path} changed while the stages ran: {', '.join(foreign)}. What was trained is not what "
            f"commit {tree.commit} says. Leave that folder alone: git worktree remove --force {PLACE}, and run again."
        )
    if changed:
        git(tree.path, "add", "--", *changed)
        git(tree.path, "commit", "--quiet", "--no-verify", "-m", _message(tree))
    git(tree.path, "branch", "--force", tree.branch, "HEAD")
    return tree.head


def _message(tree: Worktree) -> str:
    return f"Retraining of {tree.commit[:_NAME_LENGTH]} on data {data_md5(tree.path)[:_NAME_LENGTH]}"


def _head(path: Path) -> str | None:
    """Return the commit a worktree stands on; None if there is no worktree at `path`."""
    return read_git(path, "rev-parse", "HEAD") if (path / ".git").is_file() else None


def _make(tree: Worktree) -> None:
    shutil.rmtree(tree.path, ignore_errors=True)  # what a killed `git worktree add` or `remove` may have left
    git(tree.project, "worktree", "prune")
    git(tree.project, "worktree", "add", "--quiet", "--force", "--detach", str(tree.path), tree.commit)


def _restore(tree: Worktree) -> None:
    """Put back every file of git's but the results, which tell how far the last retraining came."""
    _unlock(tree)
    others = (".", *(f":(exclude){name}" for name in RESULTS))
    git(tree.path, "checkout", "--quiet", "--force", "HEAD", "--", *others)
    git(tree.path, "clean", "--quiet", "--force", "-d", "--", *others)
    try:
        stage_hashes(tree.path)
    except CacError:  # killed while DVC wrote it; finished stages come back from DVC's run cache
        git(tree.path, "checkout", "--quiet", "--force", "HEAD", "--", LOCK_FILE)


def _unlock(tree: Worktree) -> None:
    """Remove the lock of a git command that was killed; nobody else works here, or this retraining would not run."""
    (tree.path / git(tree.path, "rev-parse", "--git-path", "index.lock")).unlink(missing_ok=True)


def _check_environment(tree: Worktree) -> None:
    pins = [folder / _REQUIREMENTS for folder in (tree.project, tree.path)]
    installed, wanted = (path.read_bytes() if path.is_file() else None for path in pins)
    if installed != wanted:
        raise CacError(
            f"commit {tree.commit} pins other packages than {pins[0]}, whose environment would run it. "
            "Check that commit out here, run `make install`, and retrain again."
        )


def _share_dvc(tree: Worktree) -> None:
    """Let the worktree use the cache, the remotes and the default remote of the checkout, whatever its commit says."""
    from dvc.repo import Repo

    local = tree.path / ".dvc" / "config.local"
    local.touch(mode=0o600)
    local.chmod(0o600)  # the remotes' keys may be among what is written there
    with Repo(str(tree.project)) as source, Repo(str(tree.path)) as target, target.config.edit("local") as settings:
        settings["cache"]["dir"] = source.cache.local_cache_dir
        settings["remote"] = source.config["remote"]
        if "remote" in source.config["core"]:
            settings["core"]["remote"] = source.config["core"]["remote"]


def _checkouts_mlflow(project: Path) -> str:
    with chdir(project):
        return default_tracking_uri()
