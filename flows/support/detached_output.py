"""A flow run continues after the worker that started it has died.

The worker reads the output of its flow runs. When it is gone, a write fails, and Rich, which prints Prefect's log,
would end the process. The log reaches Prefect's server separately, so the run can continue.
"""

import os

from rich.console import Console


def ignore_broken_output() -> None:
    """Discard this process's output once its reader is gone."""
    Console.on_broken_pipe = _discard_output  # type: ignore[assignment, method-assign]  # Rich documents the override


def _discard_output(console: Console) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(null, stream)
    os.close(null)
