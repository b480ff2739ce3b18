"""A git worktree of our own, in which a new version of the data is made: nobody's checkout is touched.

It lies in the scratch folder, shares the project's git objects and DVC cache, and is thrown away and made anew whenever
something about it is not as it should be. Git and DVC are called as commands, so their locks and hooks are theirs.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cac.errors import CacError
from flows.support.s3_hints import with_s3_hints
from flows.support.subprocesses import RUNNER

POINTER = "data.dvc"
_SHOWN = 5  # lines of a failed command


@dataclass(frozen=True)
class Checkout:
    """A worktree of `branch` at `place`; `say` is told each line of the commands that take time."""

    root: Path
    place: Path
    branch: str
    say: Callable[[str], None]

    @property
    def data(self) -> Path:
        """The dataset's folder."""
        return self.place / "data"

    def head(self) -> str:
        """Return the branch's commit."""
        return git(self.place, "rev-parse", "HEAD")

    def commits(self, words: str) -> list[str]:
        """Return the branch's commits with these words in their message, newest first."""
        return git(self.place, "log", "--format=%H", "--fixed-strings", f"--grep={words}").split()

    def parent(self, commit: str) -> str:
        """Return the commit before this one."""
        return git(self.place, "rev-parse", f"{commit}~1")

    def message(self, commit: str) -> str:
        """Return a commit's message."""
        return git(self.place, "log", "-1", "--format=%B", commit)

    def bring_data(self) -> None:
        """Have in the worktree what the branch's `data.dvc` names, from the cache or else the remote.

        Raises:
            CacError: there is no `data.dvc`, or its data is neither in the cache nor on the remote.
        """
        git(self.place, "reset", "--hard", "--quiet")
        if not (self.place / POINTER).is_file():
            raise CacError(f"the branch {self.branch} has no {POINTER}. Make a dataset first: `dvc add data`, commit.")
        if self._dvc("checkout", "--force", "--quiet", POINTER) and self._dvc("pull", "--force", "--quiet", POINTER):
            raise CacError(
                f"the data of the branch {self.branch} is neither in DVC's cache nor on its remote ({_advised()}). "
                "Run `make data` for the sample dataset, or `dvc push` where that version was made."
            )

    def add_data(self) -> None:
        """Have DVC name the dataset as it is now and bring it to the remote.

        Raises:
            CacError: it could not, for example because the remote cannot be reached.
        """
        if self._dvc("add", "--quiet", "data"):
            raise CacError(f"`dvc add data` failed: {last_words()}")
        if self._dvc("push", POINTER):
            raise CacError(f"`dvc push` failed: {_advised()}. See to DVC's remote (`dvc remote list`); run again.")

    def commit(self, message: str) -> str:
        """Commit `data.dvc` on the branch and return the commit.

        Raises:
            CacError: git refuses.
        """
        git(self.place, "commit", "--quiet", "--message", message, "--", POINTER)
        return self.head()

    def _dvc(self, *arguments: str) -> int:
        command = (sys.executable, "-m", "dvc", "--wait-for-lock", *arguments)
        code = RUNNER.run(command, self.say, self.place).code
        if RUNNER.interrupted:
            raise KeyboardInterrupt
        return code


def open_checkout(root: Path, scratch: Path, branch: str, say: Callable[[str], None]) -> Checkout:
    """Return a clean worktree of `branch`, which is made from the project's current commit if there is none.

    Raises:
        CacError: the folder is no git repository, has no author or no DVC remote, or somebody works on the branch.
    """
    _check(root, branch)
    place = scratch / "checkouts" / quote(branch, safe="")
    if not _is_ours(place, branch):
        _make(root, place, branch)
    _share(root, place)
    return Checkout(root, place, branch, say)


def _check(root: Path, branch: str) -> None:
    """Find out early what would stop the run late."""
    git(root, "rev-parse", "HEAD")
    git(root, "check-ref-format", "--branch", branch)
    for who in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
        git(root, "-c", "user.useConfigOnly=true", "var", who)
    from dvc.config import Config

    if not Config(dvc_dir=str(root / ".dvc"))["core"].get("remote"):
        raise CacError("DVC has no default remote to push new data to. Name one: dvc remote add --default store URL")


def _is_ours(place: Path, branch: str) -> bool:
    """Whether the worktree is there and whole; one whose making or resetting was killed is not."""
    if not (place / ".git").is_file():
        return False
    try:
        if git(place, "symbolic-ref", "--short", "HEAD") != branch:
            return False
        git(place, "reset", "--hard", "--quiet")
    except CacError:
        return False
    return True


def _make(root: Path, place: Path, branch: str) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    git(root, "worktree", "prune")
    exists = git(root, "for-each-ref", "--format=there", f"refs/heads/{branch}")
    which = (str(place), branch) if exists else ("-b", branch, str(place))
    try:
        git(root, "worktree", "add", "--quiet", *which)
    except CacError as error:
        raise CacError(f"{error} If somebody works on {branch}: ingest onto another branch (--branch).") from error


def _share(root: Path, place: Path) -> None:
    """Give the worktree the project's own DVC settings and its cache; git does not carry what is local."""
    from dvc.config import Config, merge

    own = Config(dvc_dir=str(root / ".dvc"))
    with Config(dvc_dir=str(place / ".dvc"), validate=False).edit("local") as settings:
        settings.clear()
        for level in ("repo", "local"):  # read with their paths made absolute
            merge(settings, own.load_one(level))
        merge(settings, {"cache": {"dir": own["cache"].get("dir") or str(root / ".dvc" / "cache")}})
    (place / ".dvc" / "config.local").chmod(0o600)  # it may hold keys


def last_words() -> str:
    """Return the end of what the last command said, on one line."""
    lines = RUNNER.last.tail if RUNNER.last else ()
    return " ".join(line.strip() for line in lines[-_SHOWN:] if line.strip())


def _advised() -> str:
    return with_s3_hints(last_words()).rstrip(".")


def git(folder: Path, *arguments: str) -> str:
    """Run a git command and return what it says.

    Raises:
        CacError: git is missing or refuses.
    """
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
    command = ("git", "-C", str(folder), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError as error:
        raise CacError("git is not installed. Install it; versions of the data are commits.") from error
    if done.returncode:
        raise CacError(f"git {arguments[0]} in {folder}: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()
