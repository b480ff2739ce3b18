"""Git commands. `read_git` reads without locks and returns None on failure; `run_git` raises an error."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cac.errors import CacError


def read_git(folder: Path, *arguments: str) -> str | None:
    """Run a reading git command without taking git's locks; return None if git is missing or fails."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def run_git(folder: Path, *arguments: str, settings: Sequence[str] = ()) -> str:
    """Run a git command in `folder` and return its output without the last line's end. Git never asks for a password.

    Args:
        folder: the current folder of the command.
        arguments: the command and its arguments.
        settings: of git for this command, such as "core.hooksPath=/dev/null".

    Raises:
        CacError: git is missing or fails.
    """
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
    options = [word for setting in settings for word in ("-c", setting)]
    command = ("git", "-C", str(folder), *options, *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError as error:
        raise CacError("git is not installed. Install git and run again.") from error
    if done.returncode:
        reason = (done.stderr or done.stdout).strip()
        raise CacError(f"`git {' '.join(arguments)}` failed in {folder}: {reason}")
    return done.stdout.rstrip("\n")
