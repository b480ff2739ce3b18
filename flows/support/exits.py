"""How the commands of `flows/` end: a mistake or a Ctrl-C as a line and an exit code, a flow as what it said last.

Left out: `flows/__main__.py`'s own report of a step that failed.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

from cac.cli.console import print_error
from cac.errors import EXIT_INTERRUPTED, EXIT_MISTAKE, CacError
from flows.support.subprocesses import RUNNER

if TYPE_CHECKING:
    from prefect import State

Args = ParamSpec("Args")


def guarded(interrupted: str) -> Callable[[Callable[Args, int]], Callable[Args, int]]:
    """Let a `main` print what the user can mend, or `interrupted` after a Ctrl-C, and return the exit code."""

    def wrap(main: Callable[Args, int]) -> Callable[Args, int]:
        @wraps(main)
        def ending(*args: Args.args, **options: Args.kwargs) -> int:
            try:
                return main(*args, **options)
            except CacError as error:
                print_error(str(error))
                return EXIT_MISTAKE
            except KeyboardInterrupt:
                print(interrupted, file=sys.stderr)
                return EXIT_INTERRUPTED

        return ending

    return wrap


def told(state: "State") -> int:
    """Print how a flow ended and return the exit code: 0 if it is completed, else 1.

    Raises:
        KeyboardInterrupt: a signal asked its commands to end.
    """
    from flows.pipeline import flush_logs_and_events

    flush_logs_and_events()
    if RUNNER.interrupted:
        raise KeyboardInterrupt
    if state.is_completed():
        print(state.message)
        return 0
    print_error(str(state.message))
    return 1
