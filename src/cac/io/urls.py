"""URLs of servers: print them without passwords, and check whether a server answers."""

import socket
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


def without_password(uri: str) -> str:
    """Return a URL without its user and password."""
    scheme, mark, rest = uri.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


def connection_error(uri: str, seconds: float) -> OSError | None:
    """Return the error of connecting to a URL within `seconds`; None if it answers, or has no host."""
    parts = urlsplit(uri)
    port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    if not parts.hostname or not port:
        return None
    try:
        socket.create_connection((parts.hostname, port), timeout=seconds).close()
    except OSError as error:
        return error
    return None
