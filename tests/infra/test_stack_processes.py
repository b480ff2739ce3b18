"""Ending processes by their mark, and the supervisor's behaviour towards small servers that misbehave."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cac.errors import CacError
from infra.stack import supervisor as module
from infra.stack.local_stack import Stack, open_stack
from infra.stack.processes import MARK, end_processes, find_processes
from infra.stack.service import Service
from infra.stack.supervisor import Stopped, Supervisor, check_ports

IGNORES = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
WITH_CHILD = (
    "import subprocess, sys, time;"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True);"
    "print(1, flush=True); time.sleep(600)"
)


@pytest.fixture
def mark(tmp_path: Path) -> str:
    return f"{tmp_path}#1"


def _spawn(program: str, mark: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        (sys.executable, "-c", program), env={**os.environ, MARK: mark}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    return process


def test_a_child_in_a_session_of_its_own_is_found_and_ended(mark: str) -> None:
    parent = _spawn(WITH_CHILD, mark)
    parent.kill()  # the child is an orphan now
    parent.wait()
    assert end_processes(lambda text: text == mark, grace=10) == 1
    assert not find_processes(lambda text: text == mark)


def test_what_does_not_listen_is_killed(mark: str) -> None:
    process = _spawn(IGNORES, mark)
    assert end_processes(lambda text: text == mark, grace=0.2) == 1
    assert process.wait() == -9


def test_other_processes_are_left_alone(mark: str) -> None:
    other = _spawn("import time; print(1, flush=True); time.sleep(600)", f"{mark}0")
    assert end_processes(lambda text: text == mark, grace=10) == 0
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_guard_cleans_up_when_the_pipe_closes(mark: str) -> None:
    parent = _spawn(WITH_CHILD, mark)
    guard = subprocess.Popen((sys.executable, "-m", "infra.stack.guard", mark), stdin=subprocess.PIPE)
    assert guard.stdin is not None
    assert len(find_processes(lambda text: text == mark)) == 2
    guard.stdin.close()
    assert guard.wait() == 0
    assert parent.wait() == -15
    assert not find_processes(lambda text: text == mark)


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return open_stack(tmp_path)


@pytest.fixture
def supervise(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Supervisor]:
    """A supervisor of the given services instead of the real ones; signal handlers are put back afterwards."""

    def make(*services: Service) -> Supervisor:
        monkeypatch.setattr(module, "start_groups", lambda stack: (services,))
        monkeypatch.setattr(module.signal, "signal", lambda number, handler: None)
        monkeypatch.setattr(module, "_RESTART_PAUSE", 0.0)
        return Supervisor(stack, print)

    return make


def _service(program: str, is_ready: Callable[[float], bool] = lambda since: True, port: int | None = None) -> Service:
    command = (sys.executable, "-c", program)
    return Service("small", "nowhere", port, command, dict(os.environ), is_ready)


def test_a_service_that_ends_again_and_again_stops_the_stack(
    supervise: Callable[..., Supervisor], stack: Stack
) -> None:
    supervisor = supervise(_service("print('why I end')"))
    supervisor.start()
    with pytest.raises(CacError, match="keeps ending") as error:
        supervisor.watch()
    supervisor.stop()
    log = stack.logs / "small.log"
    assert str(log) in str(error.value)
    assert log.read_text().count("why I end") == module._RESTARTS + 1


def test_a_killed_service_is_started_again(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    """The second start says so in a file; then a "signal" ends the watch."""
    again = tmp_path / "again"
    program = f"import pathlib, time; p = pathlib.Path({str(again)!r}); p.open('a').write('x'); time.sleep(600)"
    supervisor = supervise(_service(program, is_ready=lambda since: again.exists() and again.read_text() != ""))
    supervisor.start()
    [process] = find_processes(lambda text: text == supervisor._mark)
    process.kill()
    while again.read_text() != "xx":
        supervisor._restart_ended()
    supervisor._on_signal(15, None)
    with pytest.raises(Stopped):
        supervisor.watch()
    supervisor.stop()
    assert not find_processes(lambda text: text == supervisor._mark)


def test_leftovers_of_a_killed_stack_are_ended_first(
    supervise: Callable[..., Supervisor], stack: Stack, capfd: pytest.CaptureFixture[str]
) -> None:
    _spawn(WITH_CHILD, f"{stack.state}#1")
    supervisor = supervise(_service("import time; time.sleep(600)"))
    supervisor.start()
    supervisor.stop()
    assert "ended 2 processes of a stack that was killed" in capfd.readouterr().out


def test_a_taken_port_is_named_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CacError, match=rf"port {port}.*STACK_SMALL_PORT"):
            check_ports([_service("", port=port)])
    check_ports([_service("", port=port)])


def test_no_test_left_anything(tmp_path: Path) -> None:
    assert not find_processes(lambda text: str(tmp_path.parent) in text)
