"""Addresses of servers: shown without what is secret in them, and asked whether anything is there."""

import socket
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


def without_password(uri: str) -> str:
    """Return an address without the user and the password that may be in it."""
    scheme, mark, rest = uri.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


def connection_error(uri: str, seconds: float) -> OSError | None:
    """Return why nothing answers at an address within `seconds`; None if something does, or it names no machine."""
    parts = urlsplit(uri)
    port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    if not parts.hostname or not port:
        return None
    try:
        socket.create_connection((parts.hostname, port), timeout=seconds).close()
    except OSError as error:
        return error
    return None
