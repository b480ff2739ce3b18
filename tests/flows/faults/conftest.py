"""One stack for all faults, its data on a small disk of its own if root can mount one; each test leaves it running."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.faulty_stack import HEARTBEAT, FaultyStack, remove
from helpers.retrain_project import TEST_CLIPS, make_checkout
from helpers.running_stack import RunningStack

from cac.params import Params

_DISK = "1500m"


@pytest.fixture(scope="session")
def small_disk() -> Iterator[Path | None]:
    """A file system of its own that can be filled up; None where this user may not mount one."""
    place = Path(tempfile.mkdtemp(prefix="cac-disk-"))
    mounted = os.geteuid() == 0 and _succeeds("mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(place))
    yield place if mounted else None
    if mounted:
        assert _succeeds("umount", "--lazy", str(place))
    place.rmdir()


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture(scope="session")
def faulty(
    small_disk: Path | None,
    fresh_project: Path,
    environment: dict[str, str],
    fresh_base: Path,
    project_params: Params,
) -> Iterator[FaultyStack]:
    if small_disk:
        small_disk.chmod(0o711)  # PostgreSQL's own account must pass through
    running = RunningStack(small_disk / "state" if small_disk else None)
    running.environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = str(HEARTBEAT)  # a worker gives its runs its own
    env = environment | running.environment
    checkout = make_checkout(running.root, fresh_project, env, fresh_base, project_params)
    try:
        running.start()
        checkout.dvc("remote", "add", "--quiet", "--default", "store", "s3://dvc/files")
        checkout.commit_data(TEST_CLIPS)
        yield FaultyStack(running, checkout)
    finally:
        running.remove()
        remove(checkout)
