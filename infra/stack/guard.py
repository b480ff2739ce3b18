"""`python -m infra.stack.guard MARK`: waits for the end of the supervisor, then ends its remaining processes.

Standard input is a pipe from the supervisor. The kernel closes it when the supervisor ends for any reason, `kill -9`
included.
"""

import sys

from infra.stack.processes import end_processes

_GRACE_SECONDS = 20


def main() -> None:
    """Wait for the end of standard input and clean up."""
    expected = sys.argv[1]
    sys.stdin.read()
    end_processes(lambda mark: mark == expected, _GRACE_SECONDS)


if __name__ == "__main__":
    main()
