"""HTTP requests to the local services for readiness checks, without proxy or retries."""

import base64
import json
from http.client import HTTPConnection, HTTPException
from typing import Any

from infra.stack.local_stack import HOST, PREFECT_USER

_TIMEOUT_SECONDS = 10


def request_json(port: int, path: str, body: Any = None, password: str | None = None) -> Any:
    """Return the JSON response of the server at `port`, or None without a response of status 200 with JSON.

    Args:
        port: the port on 127.0.0.1.
        path: with the leading slash.
        body: the JSON value to POST; None sends a GET.
        password: the password of the Prefect user, if needed.
    """
    connection = HTTPConnection(HOST, port, timeout=_TIMEOUT_SECONDS)
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
