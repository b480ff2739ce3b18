"""Threads that wait leave their core to others, in every process that imports the package before torch."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("first", ["cac", "cac.registry.pyfunc_model", "flows.__main__"])
def test_waiting_threads_sleep(first: str) -> None:
    assert _spins(first, {}) == 0


def test_the_users_own_choice_stands() -> None:
    assert _spins("cac", {"OMP_WAIT_POLICY": "ACTIVE"}) > 0


def _spins(first: str, chosen: dict[str, str]) -> int:
    """Import a module, then torch, and return how often its OpenMP says a thread looks again before it sleeps."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        (sys.executable, "-c", f"import sys, {first}; assert 'torch' not in sys.modules; import torch"),
        env=environment | {"OMP_DISPLAY_ENV": "verbose"} | chosen,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    return int(line.partition("=")[2].strip(" '"))
