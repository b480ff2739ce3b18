"""Asking git: what lineage and the versions of a dataset are told by. It only reads; writing is left to people."""

import subprocess
from pathlib import Path


def read_git(folder: Path, *arguments: str) -> str | None:
    """Run a reading git command without taking its locks; None if git is missing or refuses."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
