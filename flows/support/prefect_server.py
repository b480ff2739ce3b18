"""A temporary Prefect server for one run, if PREFECT_API_URL names no permanent one.

It is the server that Prefect would start by itself, but in its own process group: otherwise a Ctrl-C in the terminal
would stop it before the run could record that it was interrupted. Schedules, workers and automations need a permanent
server.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from cac.errors import CacError
from cac.io.urls import connection_error, without_password

_START_SECONDS = 300  # the first start creates the database: 20 seconds, minutes on busy cores
_STOP_SECONDS = 10
_ANSWER_SECONDS = 10
_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


@contextmanager
def local_server(log: Path, meanwhile: Callable[[], None] | None = None) -> Iterator[None]:
    """Serve Prefect's API to this process and its children; the server's output goes to the file `log`.

    `meanwhile` runs while the server starts, which takes long the first time.

    Raises:
        CacError: the server did not start, or the server at PREFECT_API_URL does not answer.
    """
    if named := os.environ.get("PREFECT_API_URL"):
        if silence := connection_error(named, _ANSWER_SECONDS):
            raise CacError(
                f"no Prefect server answers at PREFECT_API_URL={without_password(named)} ({silence}). Start the "
                "server, `make stack` for the local one, or unset PREFECT_API_URL."
            ) from silence
        if meanwhile:
            meanwhile()
        yield
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    with log.open("w", encoding="utf-8") as output, _process(port, output.fileno()) as process:
        if meanwhile:
            meanwhile()
        _wait_until_ready(process, port, log)
        os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        try:
            yield
        finally:
            del os.environ["PREFECT_API_URL"]


@contextmanager
def _process(port: int, output: int) -> Iterator[subprocess.Popen[bytes]]:
    command = (sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app")
    options = ("--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on")
    # As Prefect sets them for its own temporary server: no user interface, no background services.
    environment = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    process = subprocess.Popen(
        (*command, *options),
        env=os.environ | environment,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=_end_with_parent,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_parent() -> None:
    """Ask Linux to end this process with its parent, even after `kill -9`. On other systems it keeps running."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if _is_healthy(port):
            return
        time.sleep(0.1)
    raise CacError(f"Prefect's temporary server did not start on port {port}. Its output is in {log}.")


def _is_healthy(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
