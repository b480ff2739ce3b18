"""Recognise that MLflow's server is unreachable, by the exception that its client raises after its last retry.

The client retries for about four minutes (MLFLOW_HTTP_REQUEST_MAX_RETRIES), so a restart of the server goes unnoticed.
Out of scope: a server that answers with a refusal.
"""

import os
from urllib.parse import urlsplit

_TRIED = ("failed with exception", "failed with timeout", "failed with error code 5")


def is_unreachable(error: BaseException | None) -> bool:
    """Return whether `error` or one of its causes is MLflow's client giving up on its server."""
    while error is not None:
        text = str(error)
        if type(error).__module__ == "mlflow.exceptions" and text.startswith("API request to"):
            return any(words in text for words in _TRIED)
        error = error.__cause__ or error.__context__
    return False


def explain_unreachable(error: BaseException) -> str | None:
    """Return the message for the user if the server is unreachable; None for other errors."""
    if not is_unreachable(error):
        return None
    address = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", ""))
    where = f" at {address.hostname}:{address.port}" if address.hostname else ""  # no more: it may hold a password
    return (
        f"MLflow's server{where} does not answer. Start it and repeat the command; finished work and checkpoints are "
        "kept."
    )
