"""Git worktrees of the checkout: one for new data, one for a retraining, one for each reproduction.

None of them touches the checkout's own files. They share its git objects; `dvc_sharing.py` shares DVC's cache.
Every worktree survives a kill: the next run resumes in it, or creates it again if it is incomplete.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from cac.errors import CacError
from cac.io.git import read_git, run_git
from cac.paths import DATA_DVC, DATASET, DVC_LOCK, TRACKED_METRICS
from cac.tracking.mlflow_runs import default_tracking_uri
from cac.tracking.run_state import data_md5, stage_hashes
from flows.support.dvc_sharing import DataTransfer, copy_settings, default_remote, parse_data_md5, share_remotes

RETRAINING_FOLDER = Path(".retraining")
RESULTS = tuple(path.as_posix() for path in (DVC_LOCK, *TRACKED_METRICS))  # a retraining commits these

_REQUIREMENTS = "requirements.lock"
_HASH_LENGTH = 8
# Commits of a machine carry no person's name and run no person's hooks.
_RETRAINING = ("user.name=CaC retraining", "user.email=retraining@cac.invalid", "core.hooksPath=/dev/null")


@dataclass(frozen=True)
class GitWorktree:
    """A git worktree at `path` of the repository that contains the folder `project`."""

    project: Path
    path: Path
    git_settings: ClassVar[Sequence[str]] = ()  # of every git command

    def git(self, *arguments: str) -> str:
        """Run a git command in the worktree and return its output."""
        return run_git(self.path, *arguments, settings=self.git_settings)

    def git_in_project(self, *arguments: str) -> str:
        """Run a git command in the checkout and return its output."""
        return run_git(self.project, *arguments, settings=self.git_settings)

    def find_head(self) -> str | None:
        """Return the commit that is checked out; None if there is no worktree at `path`."""
        return read_git(self.path, "rev-parse", "HEAD") if (self.path / ".git").is_file() else None

    def create(self, *arguments: str) -> None:
        """Create the worktree: `git worktree add` with these arguments, after removing the rest of a killed one."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.git_in_project("worktree", "prune")
        self.git_in_project("worktree", "add", "--quiet", *arguments)

    def create_detached(self, commit: str) -> None:
        """Create the worktree at a commit, on no branch."""
        self.create("--force", "--detach", str(self.path), commit)

    def remove(self) -> None:
        """Remove the worktree with all its files."""
        self.git_in_project("worktree", "remove", "--force", "--force", str(self.path))


# New data


@dataclass(frozen=True)
class DataWorktree(GitWorktree):
    """A worktree of `branch`, in which a new version of the dataset is made; `log` gets the output of DVC."""

    branch: str
    log: Callable[[str], None]

    @property
    def data(self) -> Path:
        """The dataset's folder."""
        return self.path / DATASET

    def find_commits(self, text: str) -> list[str]:
        """Return the branch's commits with this text in their message, newest first."""
        return self.git("log", "--format=%H", "--fixed-strings", f"--grep={text}").split()

    def parent(self, commit: str) -> str:
        """Return the commit before this one."""
        return self.git("rev-parse", f"{commit}~1")

    def message(self, commit: str) -> str:
        """Return a commit's message."""
        return self.git("log", "-1", "--format=%B", commit)

    def restore_data(self) -> None:
        """Check out the dataset of the branch's newest commit, from DVC's cache or else the remote.

        Raises:
            CacError: there is no `data.dvc`, or its data is neither in the cache nor on the remote.
        """
        self.git("reset", "--hard", "--quiet")
        DataTransfer(self.path, self.branch, self.log).restore()

    def add_data(self) -> None:
        """Add the dataset as it is now to DVC and push it to the remote.

        Raises:
            CacError: DVC fails, for example because the remote cannot be reached.
        """
        DataTransfer(self.path, self.branch, self.log).add_and_push()

    def commit(self, message: str) -> str:
        """Commit `data.dvc` on the branch and return the commit.

        Raises:
            CacError: git fails.
        """
        self.git("commit", "--quiet", "--message", message, "--", str(DATA_DVC))
        return self.git("rev-parse", "HEAD")


def open_data_worktree(project: Path, scratch: Path, branch: str, log: Callable[[str], None]) -> DataWorktree:
    """Return a clean worktree of `branch`. A new branch starts at the checkout's current commit.

    Raises:
        CacError: the folder is no git repository, has no author or no DVC remote, or another worktree has the branch.
    """
    _check_data_prerequisites(project, branch)
    worktree = DataWorktree(project, scratch / "checkouts" / quote(branch, safe=""), branch, log)
    if not _has_branch(worktree):
        _create_on_branch(worktree)
    copy_settings(project, worktree.path)
    return worktree


def _check_data_prerequisites(project: Path, branch: str) -> None:
    """Check first what would otherwise fail after the deliveries were fetched."""
    run_git(project, "rev-parse", "HEAD")
    run_git(project, "check-ref-format", "--branch", branch)
    for identity in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
        run_git(project, "-c", "user.useConfigOnly=true", "var", identity)
    if not default_remote(project):
        raise CacError("DVC has no default remote for new data. Add one: dvc remote add --default store URL")


def _has_branch(worktree: DataWorktree) -> bool:
    """Whether the worktree exists, has its branch checked out, and is not locked by a killed git command."""
    if not (worktree.path / ".git").is_file():
        return False
    try:
        if worktree.git("symbolic-ref", "--short", "HEAD") != worktree.branch:
            return False
        worktree.git("reset", "--hard", "--quiet")
    except CacError:
        return False
    return True


def _create_on_branch(worktree: DataWorktree) -> None:
    branch, path = worktree.branch, str(worktree.path)
    exists = read_git(worktree.project, "for-each-ref", f"refs/heads/{branch}")
    try:
        worktree.create(*((path, branch) if exists else ("-b", branch, path)))
    except CacError as error:
        raise CacError(f"{error} If {branch} is checked out elsewhere: use another branch (--branch).") from error


# Retraining


@dataclass(frozen=True)
class RetrainingWorktree(GitWorktree):
    """The worktree `.retraining/`: for the retraining of `commit`, whose results go to `branch`.

    It exists until a retraining is complete. Until then finished stages are in its dvc.lock, and checkpoints in its
    scratch folder. A ref in `refs/cac/retrained/` marks a commit as done; people merge the branch.
    """

    commit: str
    branch: str
    git_settings: ClassVar[Sequence[str]] = _RETRAINING

    @property
    def head(self) -> str:
        """The commit that is checked out: `commit`, or the one with its results."""
        return self.git("rev-parse", "HEAD")

    def changed(self) -> list[str]:
        """Return the paths of all files that differ from those of `head`, untracked ones included."""
        lines = self.git("status", "--porcelain", "--untracked-files=all", "--no-renames").splitlines()
        return [line.split(maxsplit=1)[1] for line in lines]

    @property
    def has_progress(self) -> bool:
        """Whether an earlier run began to retrain this commit here."""
        return self.head != self.commit or str(DVC_LOCK) in self.changed()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make the worktree the current folder, put its code before the installed one, use the checkout's MLflow."""
        before = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "PYTHONPATH")}
        with chdir(self.project):
            os.environ.setdefault("MLFLOW_TRACKING_URI", default_tracking_uri())
        inherited = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        os.environ["PYTHONPATH"] = os.pathsep.join((str(self.path / "src"), *inherited))
        try:
            with chdir(self.path):
                yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})

    def commit_results(self) -> str:
        """Commit the results, point the branch to the commit, and return the commit.

        Raises:
            CacError: another file has changed, so the code that trained is not the commit's.
        """
        changed = self.changed()
        if foreign := sorted(set(changed) - set(RESULTS)):
            raise CacError(
                f"files in {self.path} changed while the stages ran: {', '.join(foreign)}. What was trained is not "
                f"commit {self.commit}. Do not edit that folder: git worktree remove --force {RETRAINING_FOLDER}, and "
                "run again."
            )
        if changed:
            self.git("add", "--", *changed)
            text = f"Retraining of {self.commit[:_HASH_LENGTH]} on data {data_md5(self.path)[:_HASH_LENGTH]}"
            self.git("commit", "--quiet", "--no-verify", "-m", text)
        self.git("branch", "--force", self.branch, "HEAD")
        return self.head

    def close(self) -> None:
        """Mark the commit as retrained and remove the worktree; git and DVC's cache keep the results."""
        if tip := _find_ref(self.project, f"refs/heads/{self.branch}"):
            self.git_in_project("update-ref", _done_ref(self.branch), tip)
        self.remove()

    def restore(self) -> None:
        """Restore every tracked file except the results, which record how far the last retraining got."""
        self.remove_index_lock()
        others = (".", *(f":(exclude){name}" for name in RESULTS))
        self.git("checkout", "--quiet", "--force", "HEAD", "--", *others)
        self.git("clean", "--quiet", "--force", "-d", "--", *others)
        try:
            stage_hashes(self.path)
        except CacError:  # killed while DVC wrote it; finished stages come back from DVC's run cache
            self.git("checkout", "--quiet", "--force", "HEAD", "--", str(DVC_LOCK))

    def move_to_commit(self) -> None:
        """Check out `commit` in a worktree of another commit. Ignored files, such as checkpoints, stay."""
        self.remove_index_lock()
        self.git("checkout", "--quiet", "--force", "--detach", self.commit)
        self.git("clean", "--quiet", "--force", "-d")

    def remove_index_lock(self) -> None:
        """Remove the lock of a killed git command. The retraining's own lock keeps all other runs away."""
        (self.path / self.git("rev-parse", "--git-path", "index.lock")).unlink(missing_ok=True)


def open_retraining_worktree(project: Path, commit: str, branch: str) -> RetrainingWorktree:
    """Return the worktree at `commit`, created or moved there. One with progress on the commit keeps its results.

    Raises:
        CacError: git or DVC fails, or the commit needs other packages than the checkout's.
    """
    worktree = RetrainingWorktree(project, project / RETRAINING_FOLDER, commit, branch)
    head = worktree.find_head()
    if head is None:
        worktree.create_detached(commit)
    elif head in (commit, _find_ref(project, f"refs/heads/{branch}")):
        worktree.restore()
    else:
        worktree.move_to_commit()
    _check_environment(worktree)
    share_remotes(project, worktree.path)
    return worktree


def _check_environment(worktree: RetrainingWorktree) -> None:
    pins = [folder / _REQUIREMENTS for folder in (worktree.project, worktree.path)]
    installed, wanted = (path.read_bytes() if path.is_file() else None for path in pins)
    if installed != wanted:
        raise CacError(
            f"commit {worktree.commit} pins other packages than {pins[0]}, whose environment would run it. "
            "Check that commit out here, run `make install`, and retrain again."
        )


def run_git_as_retraining(project: Path, *arguments: str) -> str:
    """Run a git command in the checkout, without a person's hooks, and return its output."""
    return run_git(project, *arguments, settings=_RETRAINING)


def resolve_commit(project: Path, revision: str) -> str:
    """Return the full hash of the commit that `revision` names now.

    Raises:
        CacError: git knows no such commit.
    """
    name = f"{revision}^{{commit}}"
    commit = read_git(project, "rev-parse", "--verify", "--quiet", "--end-of-options", name)
    if commit is None:
        raise CacError(
            f"{revision!r} names no commit of {project}. Name an existing branch, tag or hash. A branch of a remote "
            "needs `git_remote` in the settings and the remote's name, such as origin/main."
        )
    return commit


def results_branch(project: Path, commit: str) -> str:
    """Return the branch for a commit's results, such as "retraining/039b1aba-4290389a": hash of the data, of the code.

    Raises:
        CacError: the commit has no data.dvc.
    """
    text = read_git(project, "show", f"{commit}:{DATA_DVC}")
    if text is None:
        raise CacError(f"commit {commit} has no {DATA_DVC}. Add a dataset: `dvc add {DATASET}`, and commit {DATA_DVC}.")
    return f"retraining/{parse_data_md5(text)[:_HASH_LENGTH]}-{commit[:_HASH_LENGTH]}"


def is_retrained(project: Path, branch: str) -> bool:
    """Whether the branch exists and is marked as the result of a complete retraining."""
    tip, done = (_find_ref(project, name) for name in (f"refs/heads/{branch}", _done_ref(branch)))
    return tip is not None and tip == done


def _done_ref(branch: str) -> str:
    return f"refs/cac/{branch.replace('retraining', 'retrained', 1)}"


def _find_ref(project: Path, ref: str) -> str | None:
    return read_git(project, "rev-parse", "--verify", "--quiet", ref)
