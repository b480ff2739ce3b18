"""Telling that MLflow's server is gone, from the exception its client ends with once it has tried long enough.

The client tries for about four minutes (MLFLOW_HTTP_REQUEST_MAX_RETRIES), so a server that is started again meanwhile
goes unnoticed. Left out: a server that answers and refuses.
"""

import os
from urllib.parse import urlsplit

_TRIED = ("failed with exception", "failed with timeout", "failed with error code 5")


def is_unreachable(error: BaseException | None) -> bool:
    """Tell whether `error`, or what caused it, is MLflow's client giving up on its server."""
    while error is not None:
        text = str(error)
        if type(error).__module__ == "mlflow.exceptions" and text.startswith("API request to"):
            return any(words in text for words in _TRIED)
        error = error.__cause__ or error.__context__
    return False


def explain_unreachable(error: BaseException) -> str | None:
    """Return what to tell the user if the server is gone; None if it is not that."""
    if not is_unreachable(error):
        return None
    address = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", ""))
    where = f" at {address.hostname}:{address.port}" if address.hostname else ""  # no more: it may hold a password
    return (
        f"MLflow's server{where} does not answer any more. Start it again and run the same command again; what was "
        "finished is kept, checkpoints as well."
    )
