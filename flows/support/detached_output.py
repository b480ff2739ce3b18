"""A flow run goes on when the worker that started it has died.

The worker reads what its flow runs print. Once it is gone a write fails, and Rich, through which Prefect prints its
log, ends the process then. The log reaches Prefect's server by another way, so nothing needs to end.
"""

import os

from rich.console import Console


def ignore_broken_output() -> None:
    """Let this process print into nothing, from the first time on that nobody reads what it prints."""
    Console.on_broken_pipe = _print_into_nothing  # type: ignore[assignment, method-assign]  # Rich's own place for this


def _print_into_nothing(console: Console) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)
