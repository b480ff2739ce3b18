"""Running the server: bind the port, load the model, then accept requests.

On SIGTERM it accepts no new connections, answers the requests in progress and exits with code 0. One server is one
process; start several to use more, each with its own copy of the model.
"""

import logging
import signal
import socket
import sys

from cac.errors import CacError
from cac.serving.settings import LOOPBACK, ServeSettings


def serve(uri: str, settings: ServeSettings, device: str = "cpu") -> None:
    """Serve a registered version until the process is terminated; an alias is resolved once, at the start.

    Raises:
        CacError: a setting is out of range, the port is in use, or the version does not exist.
    """
    settings.check()
    listening = _bind(settings)
    try:
        _serve(uri, settings, device, listening)
    finally:
        listening.close()


def _serve(uri: str, settings: ServeSettings, device: str, listening: socket.socket) -> None:
    import uvicorn

    from cac.registry.pinned import pin
    from cac.serving.app import make_app

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    pinned = pin(uri, device)
    config = uvicorn.Config(
        make_app(pinned, settings),
        log_config=None,  # use the logging configured above
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=round(settings.timeout) + 1,
    )
    server = uvicorn.Server(config)
    # Uvicorn raises the signal again after its own shutdown; this handler keeps the exit code 0.
    signal.signal(signal.SIGTERM, lambda number, frame: setattr(server, "should_exit", True))
    host, port = listening.getsockname()[:2]
    print(f"serving {pinned.source} on http://{_in_url(host)}:{port}", flush=True)
    if settings.host not in LOOPBACK:
        print(
            "warning: the server has no authentication; anyone who can reach this address can use it", file=sys.stderr
        )
    server.run(sockets=[listening])


def _bind(settings: ServeSettings) -> socket.socket:
    """Bind the port without listening, so that nobody can connect before the model is loaded."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        address_text = f"{settings.host}:{settings.port}"
        raise CacError(f"cannot listen on {address_text}: {error.strerror}. Change --host or --port.") from error
    return listening


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
