"""`python -m infra.stack.guard MARK`: waits until the supervisor is gone, then ends what it left behind.

Standard input is a pipe whose other end the supervisor holds. The kernel closes it when the supervisor ends, however it
ends, `kill -9` included.
"""

import sys

from infra.stack.processes import end

_GRACE_SECONDS = 20


def main() -> None:
    """Wait for the end of standard input and clean up."""
    own = sys.argv[1]
    sys.stdin.read()
    end(lambda mark: mark == own, _GRACE_SECONDS)


if __name__ == "__main__":
    main()
