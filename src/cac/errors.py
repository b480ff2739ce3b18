"""The one error type a user's mistake ends in.

Every message says what is wrong, where, and what to do. The command line prints it without a traceback and exits 2;
anything else that escapes is a bug of ours and keeps its traceback.
"""


class CacError(Exception):
    """A mistake in the input, the settings or the environment that the user can mend."""
