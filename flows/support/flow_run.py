"""One flow run from the command line: serve Prefect, run the flow, print how it ended."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from cac.cli.console import print_error
from flows.support.exits import extract_error
from flows.support.prefect_server import local_server
from flows.support.subprocesses import RUNNER

if TYPE_CHECKING:
    from prefect import State

_FLUSH_SECONDS = 30


def run_flow(
    start: "Callable[[], State]",
    log: Path,
    while_starting: Callable[[], None] | None = None,
    *,
    runs_commands: bool = True,
    show_command_error: bool = False,
) -> int:
    """Serve Prefect, run one flow, print how it ended, and return the exit code.

    Args:
        start: imports the flow, runs it and returns its state.
        log: the file for the server's output.
        while_starting: work to do while the server starts.
        runs_commands: whether signals go to the flow's commands. If not, Ctrl-C interrupts this process.
        show_command_error: whether to add the failed command's error to the message of a failed flow.

    Raises:
        KeyboardInterrupt: the run was interrupted by a signal.
    """
    with local_server(log, while_starting):
        with RUNNER.stopped_by_signals() if runs_commands else nullcontext():
            state = start()
        flush_logs_and_events()
    return report_flow_state(state, show_command_error=show_command_error)


def report_flow_state(state: "State", *, show_command_error: bool = False) -> int:
    """Print how a flow ended and return the exit code: 0 if it completed, else 1.

    Raises:
        KeyboardInterrupt: a signal interrupted its commands.
    """
    if RUNNER.interrupted:
        raise KeyboardInterrupt
    if state.is_completed():
        print(state.message)
        return 0
    details = extract_error(RUNNER.last.tail) if show_command_error and RUNNER.last else ()
    print_error("\n".join((str(state.message), *details)))
    return 1


def flush_logs_and_events() -> None:
    """Send the logs and events that Prefect still buffers. Call it before the server stops."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=_FLUSH_SECONDS)
