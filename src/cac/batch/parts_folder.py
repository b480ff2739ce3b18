"""The folder beside the table that holds a run's plan and finished parts until the table is complete.

Every file is written atomically. The plan is written first and removed first, so after a crash the next run knows what
is done. The lock is the kernel's (`flock`) and ends with its process.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cac.batch.plan import Plan
from cac.errors import CacError
from cac.io.aside import new_parents

_PLAN = "plan.json"


@dataclass(frozen=True)
class PartsFolder:
    """The folder of a run that makes the table `out`."""

    out: Path

    @property
    def folder(self) -> Path:
        """Its path."""
        return self.out.parent / f".{self.out.name}.parts"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and lock it against other runs; it is removed again if nothing was scored.

        Raises:
            CacError: the folder cannot be created, or another run holds the lock.
        """
        with new_parents(self.folder):
            handle = self._open()
            try:
                self._lock(handle)
                try:
                    yield
                finally:
                    self._remove_without_parts()
            finally:
                os.close(handle)

    def _open(self) -> int:
        try:
            self.folder.mkdir(exist_ok=True)
            return os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise CacError(f"cannot write beside {self.out}: {error.strerror}. Choose another --out.") from error

    def _remove_without_parts(self) -> None:
        """Remove the folder if it holds nothing that a later run could resume from."""
        if self.folder.is_dir() and not any(self.folder.glob("part-*.parquet")):
            self.clear()

    def _lock(self, handle: int) -> None:
        busy = f"another run is writing {self.out}, or has just finished it. Wait for it, or choose another --out."
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CacError(busy) from error
        if not self.folder.is_dir():  # the other run finished between our open and our lock
            raise CacError(busy)

    def plan(self) -> Plan | None:
        """Return the plan of the run in this folder; None if there is none.

        Raises:
            CacError: the file is not a plan of this version of cac.
        """
        path = self.folder / _PLAN
        if not path.is_file():
            return None
        try:
            return Plan.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:  # pydantic's ValidationError is one
            raise CacError(
                f"{path} is not a plan of this version of cac. Remove {self.folder} and start over."
            ) from error

    def begin(self, plan: Plan) -> None:
        """Write the plan; files without a plan are removed first."""
        self.empty()
        unfinished = self.folder / f"{_PLAN}.unfinished"
        unfinished.write_text(json.dumps(plan.to_dict(), sort_keys=True), encoding="utf-8")
        unfinished.replace(self.folder / _PLAN)

    def part(self, number: int) -> Path:
        """Return the path of a part's file."""
        return self.folder / f"part-{number:06d}.parquet"

    @property
    def joined(self) -> Path:
        """Where the table is written before it is moved to `out`."""
        return self.folder / "joined.parquet"

    def empty(self) -> None:
        """Remove the folder's content, the plan first."""
        (self.folder / _PLAN).unlink(missing_ok=True)
        for left in self.folder.iterdir():
            left.unlink()

    def clear(self) -> None:
        """Remove the folder."""
        self.empty()
        self.folder.rmdir()
