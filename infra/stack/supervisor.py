"""The supervisor: starts the services in order, restarts those that end, and stops them all.

Each service has a separate process group, so Ctrl-C in the terminal reaches only the supervisor. It then stops the
services one by one. The worker is first, while the servers it reports to still respond. A guard (`infra.stack.guard`)
ends the remaining processes if the supervisor itself is killed.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cac.errors import CacError
from infra.stack.local_stack import HOST, Stack
from infra.stack.processes import MARK, end_processes
from infra.stack.service import Service
from infra.stack.services import start_groups

_READY_SECONDS = 900  # the first start creates the tables, which takes many minutes on busy cores
_STOP_SECONDS = 20
_POLL_SECONDS = 0.2
_RESTARTS = 5
_RESTART_WINDOW = 60.0
_RESTART_PAUSE = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """A signal asked the stack to stop."""


@dataclass
class _Running:
    """A running service: its process, the time of its start, and the times of its restarts."""

    service: Service
    process: subprocess.Popen[bytes]
    since: float
    restarts: deque[float] = field(default_factory=lambda: deque(maxlen=_RESTARTS))


class Supervisor:
    """Runs the services of one stack, from `start` to `stop`."""

    def __init__(self, stack: Stack, report: Callable[[str], None]) -> None:
        self._stack = stack
        self._report = report
        self._mark = f"{stack.state}#{os.getpid()}"
        self._running: list[_Running] = []
        self._guard: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def start(self) -> None:
        """Start all services and wait until each is ready.

        Raises:
            CacError: a service cannot start; the others run until `stop`.
            Stopped: a signal arrived.
        """
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        planned = start_groups(self._stack)
        if left := end_processes(lambda mark: mark.startswith(f"{self._stack.state}#"), _STOP_SECONDS):
            self._report(f"ended {left} processes of a stack that was killed")
        check_ports([service for group in planned for service in group])
        self._stack.logs.mkdir(parents=True, exist_ok=True)
        self._guard = _start_guard(self._mark)
        for group in planned:
            started = [self._launch(service) for service in group]
            for each in started:
                self._wait_until_ready(each)

    def watch(self) -> None:
        """Restart services that end, until a signal arrives.

        Raises:
            CacError: a service keeps ending.
            Stopped: a signal arrived.
        """
        while True:
            self._restart_ended()
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End all services, the last one first, and then every process they started."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        for each in reversed(self._running):
            if not _stop_service(each):
                self._report(f"{each.service.name} did not end within {_STOP_SECONDS} s and was killed")
        end_processes(lambda mark: mark == self._mark, _STOP_SECONDS)
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()

    def _on_signal(self, number: int, frame: object) -> None:
        self._stopping = True

    def _launch(self, service: Service) -> _Running:
        self._report(f"starting {service.name}")
        service.prepare()
        running = _Running(service, self._spawn(service), time.time())
        self._running.append(running)
        return running

    def _spawn(self, service: Service) -> subprocess.Popen[bytes]:
        with log_file(self._stack, service).open("ab") as log:
            return subprocess.Popen(
                service.command,
                env={**service.environment, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **service.popen_options,
            )

    def _wait_until_ready(self, running: _Running) -> None:
        service, deadline = running.service, time.monotonic() + _READY_SECONDS
        while not service.is_ready(running.since):
            self._restart_ended()
            if time.monotonic() > deadline:
                log = log_file(self._stack, service)
                raise CacError(f"{service.name} is not ready after {_READY_SECONDS} s. See {log}.")
            time.sleep(_POLL_SECONDS)
        service.set_up()
        self._report(f"{service.name} is ready")

    def _restart_ended(self) -> None:
        if self._stopping:
            raise Stopped
        for each in self._running:
            if each.process.poll() is not None:
                self._restart(each)

    def _restart(self, running: _Running) -> None:
        name, now = running.service.name, time.monotonic()
        if len(running.restarts) == _RESTARTS and now - running.restarts[0] < _RESTART_WINDOW:
            log = log_file(self._stack, running.service)
            raise CacError(f"{name} keeps ending, so the stack stops. See {log}.")
        self._report(f"{name} ended with exit code {running.process.returncode}; restarting it")
        _signal_group(running.process, signal.SIGKILL)  # children of a killed server
        time.sleep(_RESTART_PAUSE)
        running.restarts.append(now)
        running.process, running.since = self._spawn(running.service), time.time()


def log_file(stack: Stack, service: Service) -> Path:
    """Return the log file of the service."""
    return stack.logs / f"{service.name}.log"


def check_ports(services: list[Service]) -> None:
    """Check that the ports of the services are free.

    Raises:
        CacError: a port is in use.
    """
    for service in services:
        if service.port is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, service.port))
            except OSError as error:
                setting = f"STACK_{service.name.upper()}_PORT"
                raise CacError(
                    f"port {service.port} of {HOST}, for {service.name}, is in use by another program. "
                    f"Stop that program, or set {setting} in infra/.env to a free port."
                ) from error


def _start_guard(mark: str) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != MARK}
    return subprocess.Popen(
        (sys.executable, "-m", "infra.stack.guard", mark),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _stop_service(running: _Running) -> bool:
    """Stop the service and return False if it had to be killed."""
    _signal_group(running.process, running.service.stop_signal)
    try:
        running.process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        _signal_group(running.process, signal.SIGKILL)
        running.process.wait()
        return False
    return True


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
