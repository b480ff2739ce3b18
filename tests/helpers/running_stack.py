"""A real stack in a folder of its own, for tests: started, used, killed and stopped through its commands."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from infra.stack.local_stack import Stack, open_stack
from infra.stack.processes import MARK
from infra.stack.settings import make_settings, write_settings

PROJECT = Path(__file__).parents[2]
_PATIENCE = 600


class RunningStack:
    """The stack of a small project with one flow in `steps.py`; `state` is where its data are to lie."""

    def __init__(self, state: Path | None = None) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="cac-stack-"))
        self.root.chmod(0o711)  # where root runs the tests, PostgreSQL's own account must pass through
        ports = dict(zip(("postgres", "s3", "mlflow", "prefect"), _free_ports(4), strict=True))
        settings = make_settings().model_copy(update={f"{name}_port": port for name, port in ports.items()})
        settings = settings.model_copy(update={"state": state})
        write_settings(settings, self.root / "infra" / ".env")
        shutil.copy(Path(__file__).with_name("steps.py"), self.root)
        self.stack: Stack = open_stack(self.root)
        self.environment = os.environ | self.stack.client_environment() | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'src'}"}

    def verb(self, name: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "infra.stack", "--root", str(self.root), name)
        return subprocess.run(command, env=self.environment, cwd=PROJECT, capture_output=True, text=True, timeout=1200)

    def start(self) -> str:
        done = self.verb("start")
        assert done.returncode == 0, done.stdout + done.stderr + self.said()
        return done.stdout

    def said(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.stack.logs.glob("*.log")))

    def supervisor(self) -> psutil.Process:
        return psutil.Process(int(self.stack.lock_file.read_text()))

    def processes(self) -> list[psutil.Process]:
        """Every process that has anything to do with the stack, by its mark, folder, command line or ports."""
        return [process for process in psutil.process_iter() if self._belongs(process)]

    def service(self, *words: str) -> psutil.Process:
        """The service's own process: the supervisor's child with all `words` in its command line."""
        children = self.supervisor().children()
        return next(child for child in children if all(word in command_line(child) for word in words))

    def prefect(self, path: str, body: object = None, method: str = "POST") -> Any:
        """Ask Prefect's API and return its answer."""
        auth = ("cac", self.stack.settings.prefect_password)
        url = f"{self.stack.prefect_url}/api{path}"
        answer = httpx.request(method if body is not None else "GET", url, json=body, auth=auth, timeout=60)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def remove(self) -> None:
        self.verb("stop")
        shutil.rmtree(self.root, ignore_errors=True)

    def _belongs(self, process: psutil.Process) -> bool:
        if process.pid == os.getpid():
            return False
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            seen = (process.environ().get(MARK, ""), process.cwd(), " ".join(process.cmdline()))
            return any(str(self.root) in text for text in seen)
        except (psutil.Error, OSError):
            return False


def wait_for(true: Callable[[], bool], what: str, patience: float = _PATIENCE) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, f"waited {patience} s for {what}"
        time.sleep(0.2)


def command_line(process: psutil.Process) -> str:
    """The words a process was started with, as anybody may read them."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
