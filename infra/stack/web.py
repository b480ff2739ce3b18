"""Asking a server of this machine over HTTP, for the checks; no proxy, no retries, and a refusal is an answer."""

import base64
import json
from http.client import HTTPConnection, HTTPException
from typing import Any

from infra.stack.local_stack import HOST, PREFECT_USER

_SECONDS = 10


def ask(port: int, path: str, body: Any = None, password: str | None = None) -> Any:
    """Return the JSON that the server at `port` answers with, or None if it answers anything else or not at all.

    Args:
        port: of 127.0.0.1.
        path: with the leading slash.
        body: what to POST; None: GET.
        password: of Prefect's user.
    """
    connection = HTTPConnection(HOST, port, timeout=_SECONDS)
    headers = {"Content-Type": "application/json"}
    if password:
        token = base64.b64encode(f"{PREFECT_USER}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {token}"
    try:
        connection.request(
            "POST" if body is not None else "GET", path, json.dumps(body) if body is not None else None, headers
        )
        response = connection.getresponse()
        return json.loads(response.read()) if response.status == 200 else None
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
