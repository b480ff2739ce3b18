"""The error type for mistakes that the user can fix, and the exit codes of `cac`.

Every message says what is wrong, where, and what to do. The command line prints it without a traceback and exits with
`EXIT_MISTAKE`. Any other exception is a bug in this project and keeps its traceback.
"""


class CacError(Exception):
    """A mistake in the input, the settings or the environment that the user can fix."""


class BeyondLimitsError(CacError):
    """A video that exceeds the limits on duration or size."""


EXIT_MISTAKE = 2  # a `CacError`; argparse uses the same code for wrong arguments
EXIT_REFUSED = 3  # the gate refused the candidate, or the leak check failed
EXIT_ATTENTION = 4  # `cac status --exit-code` found something that needs attention
EXIT_INTERRUPTED = 130  # Ctrl-C

_MAX_LENGTH = 120  # characters of foreign text in a message


def printable(text: str) -> str:
    """Return foreign text fit for a message: on one line, without control characters, cut to 120 characters."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return plain if len(plain) <= _MAX_LENGTH else plain[: _MAX_LENGTH - 1] + "…"
