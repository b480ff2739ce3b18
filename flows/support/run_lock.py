"""One run at a time in a checkout.

The lock is a kernel lock (`flock`) on a file in the scratch folder, so it ends with the processes that hold it, even if
they are killed. A run's commands inherit it: the checkout stays locked while a stage outlives its killed run.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cac.errors import CacError


class RunLock:
    """A lock that is held. Its file names the holders, for the error of a second run."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    @property
    def descriptor(self) -> int:
        """The file descriptor that a child process must inherit to hold the lock, too."""
        return self._file.fileno()

    def name_command(self, group: int) -> None:
        """Record the process group of the running command, beside this process."""
        self._write(f"{os.getpid()} {group}")

    def _write(self, holders: str) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.write(holders)
        self._file.flush()


@contextmanager
def run_lock(path: Path) -> Iterator[RunLock]:
    """Hold the lock at `path`.

    Raises:
        CacError: another run holds it, or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise CacError(f"cannot write {path}: {error.strerror}. The project's folder must be writable.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise CacError(_refusal(file.read().split())) from error
        lock = RunLock(file)
        lock._write(str(os.getpid()))
        yield lock


def _refusal(holders: list[str]) -> str:
    """Return the error message; `holders` is the run's process and its command's process group, if known."""
    if not holders:
        return "another run is starting in this checkout. Wait until it is done."
    run = holders[0]
    if _is_alive(int(run)):
        return f"another run is active in this checkout: process {run}. Wait for it, or stop it: kill -INT {run}"
    group = holders[-1]
    return (
        f"the last run, process {run}, was killed, but its command is still running in this checkout: process "
        f"group {group}. Wait for it, or stop it: kill -INT -- -{group}"
    )


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's, so it exists
        return True
    return True
