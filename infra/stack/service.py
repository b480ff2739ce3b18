"""`Service`: what the supervisor needs to start, check and stop a server or worker."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


def _do_nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Service:
    """One server or worker.

    Attributes:
        name: its name; its log is `NAME.log`.
        address: the address to show to users.
        port: the port it opens, which must be free at the start; None if it opens none.
        command: the program and its arguments.
        environment: its whole environment.
        is_ready: whether it serves requests; gets the time of its start in seconds since 1970.
        prepare: runs before it starts.
        set_up: runs when it is ready, before dependent services start.
        stop_signal: the signal for a clean stop.
        popen_options: further arguments for `subprocess.Popen`.
    """

    name: str
    address: str
    port: int | None
    command: tuple[str, ...]
    environment: Mapping[str, str]
    is_ready: Callable[[float], bool]
    prepare: Callable[[], None] = _do_nothing
    set_up: Callable[[], None] = _do_nothing
    stop_signal: signal.Signals = signal.SIGTERM
    popen_options: Mapping[str, Any] = field(default_factory=dict)
