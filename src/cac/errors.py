"""The one error type a user's mistake ends in.

Every message says what is wrong, where, and what to do. The command line prints it without a traceback and exits 2;
anything else that escapes is a bug of ours and keeps its traceback.
"""


class CacError(Exception):
    """A mistake in the input, the settings or the environment that the user can mend."""


EXIT_MISTAKE = 2
EXIT_REFUSED = 3
EXIT_ATTENTION = 4
EXIT_INTERRUPTED = 130


_MOST_SHOWN = 120


def printable(text: str) -> str:
    """Return foreign text fit for a message: on one line, without control characters, and not endless."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return plain if len(plain) <= _MOST_SHOWN else plain[: _MOST_SHOWN - 1] + "…"


class BeyondLimitsError(CacError):
    """A video that is longer or larger than it may be."""
