"""Finding and ending every process of a stack, whoever its parent is by now.

Each process a stack starts has a mark in its environment, and children inherit it: a server's workers, a flow run, a
training stage. So what a killed supervisor left behind can be found and ended, and nothing else. PostgreSQL's own
children hide their environment; they end by themselves when their parent does.
"""

import signal
import time
from collections.abc import Callable

import psutil

MARK = "CAC_STACK"
_KILL_SECONDS = 10
_POLL_SECONDS = 0.1


def marked(belongs: Callable[[str], bool]) -> list[psutil.Process]:
    """Return the processes whose mark `belongs` accepts."""
    return [process for process in psutil.process_iter() if belongs(_mark(process))]


def end(belongs: Callable[[str], bool], grace: float) -> int:
    """End the processes whose mark `belongs` accepts, after `grace` seconds by force; return how many there were."""
    asked: set[psutil.Process] = set()
    started = time.monotonic()
    while processes := marked(belongs):
        waited = time.monotonic() - started
        if waited > grace + _KILL_SECONDS:  # not even a kill ends it: it hangs in the kernel
            break
        for process in processes:
            if waited > grace:
                _signal(process, signal.SIGKILL)
            elif process not in asked:  # or a process that one of them has just started
                _signal(process, _polite(process))
        asked.update(processes)
        time.sleep(_POLL_SECONDS)
    return len(asked)


def is_alive(number: int) -> bool:
    """Whether the process `number` is at work; one that has ended but was not yet waited for is not."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _mark(process: psutil.Process) -> str:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return process.environ().get(MARK, "")
    except (psutil.Error, OSError):  # it ended meanwhile, or is another user's
        return ""


def _polite(process: psutil.Process) -> signal.Signals:
    """PostgreSQL takes SIGTERM for "when the last client is gone", SIGINT for "now, cleanly"."""
    try:
        return signal.SIGINT if process.name() == "postgres" else signal.SIGTERM
    except psutil.Error:
        return signal.SIGTERM


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
