"""DVC in a git worktree: sharing the cache and the remotes of the checkout, and moving data.

Git does not carry DVC's local settings, so a new worktree has neither the checkout's cache nor its keys. DVC's commands
run as subprocesses, so its locks and hooks apply; its configuration is read and written with DVC's own classes.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cac.errors import CacError
from cac.paths import DATA_DVC, DATASET
from flows.support.s3_hints import with_s3_hints
from flows.support.subprocesses import RUNNER

_MOST_LINES = 5  # of a failed command's output
_LOCAL_CONFIG = Path(".dvc", "config.local")
_CHECKOUT_REMOTE = "cache-of-the-checkout"


def parse_data_md5(text: str) -> str:
    """Return the dataset's hash in the text of a data.dvc.

    Raises:
        CacError: it contains none.
    """
    import yaml

    try:
        return str(yaml.safe_load(text)["outs"][0]["md5"])
    except (yaml.YAMLError, KeyError, IndexError, TypeError) as error:
        raise CacError(f"{DATA_DVC} does not name one output with its md5. Run `dvc add {DATASET}` again.") from error


def default_remote(project: Path) -> str | None:
    """Return the name of a checkout's default DVC remote; None if it has none."""
    from dvc.config import Config

    result: str | None = Config(dvc_dir=str(project / ".dvc"))["core"].get("remote")
    return result


def cache_folder(project: Path) -> Path:
    """Return the folder of a checkout's DVC cache.

    Raises:
        CacError: DVC fails.
    """
    command = (sys.executable, "-m", "dvc", "cache", "dir")
    answer = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise CacError(f"`dvc cache dir` failed in {project}: {answer.stderr.strip()}")
    return (project / answer.stdout.strip()).resolve()


def copy_settings(project: Path, worktree: Path) -> None:
    """Replace the worktree's local settings by all settings of the checkout, and share its cache."""
    from dvc.config import Config, merge

    shared = Config(dvc_dir=str(project / ".dvc"))
    with Config(dvc_dir=str(worktree / ".dvc"), validate=False).edit("local") as settings:
        settings.clear()
        for level in ("repo", "local"):  # DVC makes their paths absolute when it reads them
            merge(settings, shared.load_one(level))
        merge(settings, {"cache": {"dir": shared["cache"].get("dir") or str(project / ".dvc" / "cache")}})
    (worktree / _LOCAL_CONFIG).chmod(0o600)  # it may contain keys


def share_remotes(project: Path, worktree: Path) -> None:
    """Let the worktree use the cache, the remotes and the default remote of the checkout, whatever its commit says."""
    from dvc.repo import Repo

    local = worktree / _LOCAL_CONFIG
    local.touch(mode=0o600)
    local.chmod(0o600)  # the remotes' keys may be written to it
    with Repo(str(project)) as source, Repo(str(worktree)) as target, target.config.edit("local") as settings:
        settings["cache"]["dir"] = source.cache.local_cache_dir
        settings["remote"] = source.config["remote"]
        if "remote" in source.config["core"]:
            settings["core"]["remote"] = source.config["core"]["remote"]


def isolate_cache(worktree: Path, cache: Path) -> None:
    """Give the worktree an empty cache; it reads `cache` as a remote, from which `fetch_data` takes the dataset."""
    _write_config(worktree, f"['remote \"{_CHECKOUT_REMOTE}\"']\n    url = {cache}\n")


def use_cache(worktree: Path, cache: Path) -> None:
    """Let the worktree use `cache` as its own."""
    _write_config(worktree, f"[cache]\n    dir = {cache}\n")


def _write_config(worktree: Path, section: str) -> None:
    (worktree / _LOCAL_CONFIG).write_text(section, encoding="utf-8")


def fetch_data(worktree: Path, *, from_checkout: bool) -> None:
    """Fetch the dataset into the worktree's cache: from the checkout's cache if asked, else the default remote.

    A remote that lacks the data is no error: the sample can be rendered.
    """
    remotes: tuple[tuple[str, ...], ...] = (("--remote", _CHECKOUT_REMOTE), ()) if from_checkout else ((),)
    for remote in remotes:
        if run_dvc(worktree, ("fetch", "--quiet", *remote, str(DATA_DVC)), _ignore) == 0:
            return


def _ignore(line: str) -> None:
    """Show nothing."""


def run_dvc(worktree: Path, arguments: tuple[str, ...], log: Callable[[str], None]) -> int:
    """Run a DVC command, pass each line of its output to `log`, and return its exit code.

    Raises:
        KeyboardInterrupt: the run was interrupted by a signal.
    """
    command = (sys.executable, "-m", "dvc", "--wait-for-lock", *arguments)
    code = RUNNER.run(command, log, worktree).code
    if RUNNER.interrupted:
        raise KeyboardInterrupt
    return code


@dataclass(frozen=True)
class DataTransfer:
    """Moves the dataset of a worktree between its folder, DVC's cache and the default remote.

    Attributes:
        worktree: the worktree's folder.
        branch: its branch, for messages.
        log: gets each line of DVC's output.
    """

    worktree: Path
    branch: str
    log: Callable[[str], None]

    def restore(self) -> None:
        """Check out the dataset that `data.dvc` names, from the cache or else the remote.

        Raises:
            CacError: there is no `data.dvc`, or its data is neither in the cache nor on the remote.
        """
        if not (self.worktree / DATA_DVC).is_file():
            raise CacError(
                f"the branch {self.branch} has no {DATA_DVC}. Add a dataset first: `dvc add {DATASET}`, commit."
            )
        force = ("--force", "--quiet", str(DATA_DVC))
        if self._dvc("checkout", *force) and self._dvc("pull", *force):
            raise CacError(
                f"the data of the branch {self.branch} is neither in DVC's cache nor on its remote ({_reason()}). Run "
                "`make data` for the sample dataset, or `dvc push` where that version was created."
            )

    def add_and_push(self) -> None:
        """Add the dataset as it is now to DVC and push it to the remote.

        Raises:
            CacError: DVC fails, for example because the remote cannot be reached.
        """
        if self._dvc("add", "--quiet", str(DATASET)):
            raise CacError(f"`dvc add {DATASET}` failed: {_last_lines()}")
        if self._dvc("push", str(DATA_DVC)):
            raise CacError(f"`dvc push` failed: {_reason()}. Check DVC's remote (`dvc remote list`) and run again.")

    def _dvc(self, *arguments: str) -> int:
        return run_dvc(self.worktree, arguments, self.log)


def _last_lines() -> str:
    """Return the end of the last command's output on one line."""
    lines = RUNNER.last.tail if RUNNER.last else ()
    return " ".join(line.strip() for line in lines[-_MOST_LINES:] if line.strip())


def _reason() -> str:
    return with_s3_hints(_last_lines()).rstrip(".")
