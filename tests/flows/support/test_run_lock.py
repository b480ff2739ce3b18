import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cac.errors import CacError
from flows.support.run_lock import run_lock

ROOT = Path(__file__).parents[3]
HOLDER = """
import subprocess, sys, time
from pathlib import Path
from flows.support.subprocesses import SubprocessRunner
from flows.support.run_lock import run_lock
with run_lock(Path(sys.argv[1])) as lock:
    commands = SubprocessRunner()
    commands.lock = lock
    commands.run((sys.executable, "-u", "-c", "import os, time; print(os.getpid()); time.sleep(60)"), print, Path.cwd())
"""


def hold(path):
    """Start a process that holds the lock while a command of it works; return it and the command's process id."""
    holder = subprocess.Popen(
        (sys.executable, "-u", "-c", HOLDER, str(path)), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    return holder, int(holder.stdout.readline())


def test_a_second_run_is_refused_with_the_first_ones_process(tmp_path):
    path = tmp_path / "scratch" / "run.lock"
    holder, command = hold(path)
    try:
        with pytest.raises(CacError, match=f"kill -INT {holder.pid}"), run_lock(path):
            pass
    finally:
        os.killpg(command, signal.SIGKILL)
        holder.wait()
    with run_lock(path):
        pass


def test_a_killed_run_leaves_the_lock_to_its_command_and_to_nobody_after_it(tmp_path):
    path = tmp_path / "run.lock"
    holder, command = hold(path)
    holder.kill()
    holder.wait()
    with pytest.raises(CacError, match=f"kill -INT -- -{command}"), run_lock(path):
        pass
    os.killpg(command, signal.SIGKILL)
    _wait_until_gone(command)
    with run_lock(path):
        pass


def _wait_until_gone(process: int) -> None:
    while True:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        if "Z" in subprocess.run(("ps", "-o", "stat=", "-p", str(process)), capture_output=True, text=True).stdout:
            return


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CacError, match="must be writable"), run_lock(tmp_path / "file" / "run.lock"):
        pass
