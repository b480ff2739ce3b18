"""How a command of `flows/` ends: errors and Ctrl-C become one message and an exit code."""

import sys
from collections.abc import Callable, Sequence

from cac.cli.console import print_error
from cac.errors import EXIT_INTERRUPTED, EXIT_MISTAKE, CacError

_MOST_LINES = 12  # of a failed command's output


def exit_code(command: Callable[[], int], on_interrupt: str) -> int:
    """Run a command and return its exit code; print a `CacError`, or `on_interrupt` after a Ctrl-C."""
    try:
        return command()
    except CacError as error:
        print_error(str(error))
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print(on_interrupt, file=sys.stderr)
        return EXIT_INTERRUPTED


def extract_error(output: Sequence[str]) -> list[str]:
    """Return the error message in a failed command's last lines, or the last lines themselves if there is none.

    Skips the line with which DVC reports the failed command.
    """
    lines = [line for line in output if line.strip() and not line.startswith("ERROR: failed to reproduce")]
    messages = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    return lines[messages[-1] :] if messages else lines[-_MOST_LINES:]
