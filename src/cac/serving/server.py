"""Running the server: a free port is made sure of first, then the model is loaded, then requests are let in.

On SIGTERM it takes no new connections, answers what is under way and exits with code 0. Left out: several processes;
start several servers for that, each with its own copy of the model.
"""

import logging
import signal
import socket
import sys

from cac.errors import CacError
from cac.serving.settings import LOOPBACK, ServeSettings


def serve(uri: str, settings: ServeSettings, device: str = "cpu") -> None:
    """Serve a registered version until the process is told to end; an alias is resolved once, now.

    Raises:
        CacError: a setting is out of its range, the port is taken, or there is no such version.
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
        log_config=None,  # uvicorn then logs as everything else here
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=round(settings.timeout) + 1,
    )
    server = uvicorn.Server(config)
    # Uvicorn has handlers of its own while it runs, and at the end raises the signal anew; to have ended is no failure.
    signal.signal(signal.SIGTERM, lambda number, frame: setattr(server, "should_exit", True))
    host, port = listening.getsockname()[:2]
    print(f"serving {pinned.source} on http://{_in_url(host)}:{port}", flush=True)
    if settings.host not in LOOPBACK:
        print("anybody who reaches this address can use it: there is no password", file=sys.stderr)
    server.run(sockets=[listening])


def _bind(settings: ServeSettings) -> socket.socket:
    """Take the port without listening yet, so that nobody connects before the model is there."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        place = f"{settings.host}:{settings.port}"
        raise CacError(f"cannot listen on {place}: {error.strerror}. Name another with --host and --port.") from error
    return listening


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
