"""Finds and ends all processes of a stack, also those that have lost their parent.

A stack sets an environment variable, the mark, in each process it starts. Children inherit it: the workers of a server,
a flow run, a training stage. With it we can end exactly the processes of a killed supervisor. PostgreSQL's children
hide their environment, but they end with their parent.
"""

import signal
import time
from collections.abc import Callable

import psutil

MARK = "CAC_STACK"
_KILL_SECONDS = 10
_POLL_SECONDS = 0.1


def find_processes(belongs: Callable[[str], bool]) -> list[psutil.Process]:
    """Return the processes whose mark `belongs` accepts."""
    return [process for process in psutil.process_iter() if belongs(_mark(process))]


def end_processes(belongs: Callable[[str], bool], grace: float) -> int:
    """End the processes whose mark `belongs` accepts, kill them after `grace` seconds, and return their number."""
    signalled: set[psutil.Process] = set()
    started = time.monotonic()
    while processes := find_processes(belongs):
        waited = time.monotonic() - started
        if waited > grace + _KILL_SECONDS:  # SIGKILL had no effect: the process hangs in the kernel
            break
        for process in processes:
            if waited > grace:
                _signal(process, signal.SIGKILL)
            elif process not in signalled:  # also a process that one of them has just started
                _signal(process, _stop_signal(process))
        signalled.update(processes)
        time.sleep(_POLL_SECONDS)
    return len(signalled)


def is_alive(number: int) -> bool:
    """Return whether the process `number` runs; a zombie does not."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _mark(process: psutil.Process) -> str:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return process.environ().get(MARK, "")
    except (psutil.Error, OSError):  # it has ended, or belongs to another user
        return ""


def _stop_signal(process: psutil.Process) -> signal.Signals:
    """Return the signal for a clean stop; on SIGTERM PostgreSQL waits for its last client, on SIGINT it does not."""
    try:
        return signal.SIGINT if process.name() == "postgres" else signal.SIGTERM
    except psutil.Error:
        return signal.SIGTERM


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
