"""The folder beside the table in which a run keeps its plan and its finished parts, until the table is whole.

Every file in it is there whole or not at all, and the plan is the first to be written and the first to be removed: so
whenever a run is killed, the next one knows what is done. The lock is the kernel's and ends with its process.
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

_PLAN = "plan.json"


@dataclass(frozen=True)
class PartsFolder:
    """The folder of a run that makes the table `out`."""

    out: Path

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.out.parent / f".{self.out.name}.parts"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep other runs out of it.

        Raises:
            CacError: the place cannot be written, or another run is at work.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise CacError(f"cannot write beside {self.out}: {error.strerror}. Name another --out.") from error
        try:
            self._lock(handle)
            yield
        finally:
            os.close(handle)

    def _lock(self, handle: int) -> None:
        busy = f"another run is making {self.out}, or has just made it. Wait for it, or name another --out."
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CacError(busy) from error
        if not self.folder.is_dir():  # the other one ended between our opening and our locking it
            raise CacError(busy)

    def plan(self) -> Plan | None:
        """Return the plan of the run that was begun here; None if none was."""
        path = self.folder / _PLAN
        return Plan.from_dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def begin(self, plan: Plan) -> None:
        """Note the plan; what lay here without one is removed first."""
        self.empty()
        unfinished = self.folder / f"{_PLAN}.unfinished"
        unfinished.write_text(json.dumps(plan.to_dict(), sort_keys=True), encoding="utf-8")
        unfinished.replace(self.folder / _PLAN)

    def part(self, number: int) -> Path:
        """Return where a part's file is to be."""
        return self.folder / f"part-{number:06d}.parquet"

    @property
    def joined(self) -> Path:
        """Where the table is written before it takes its place."""
        return self.folder / "joined.parquet"

    def empty(self) -> None:
        """Remove what is in the folder, the plan first."""
        (self.folder / _PLAN).unlink(missing_ok=True)
        for left in self.folder.iterdir():
            left.unlink()

    def clear(self) -> None:
        """Remove the folder."""
        self.empty()
        self.folder.rmdir()
