"""What the supervisor must know of a service; how one works is its own module's matter."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


def _nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Service:
    """One server or worker.

    Attributes:
        name: its log's name, too.
        address: what a person is shown.
        port: the port it opens, if any; it must be free before.
        is_ready: whether it serves; gets the time it was started at, in seconds since 1970.
        prepare: what must be done before it starts.
        set_up: what must be done when it is ready, before the services that follow start.
        stop_signal: asks it to end.
        start: more arguments for `subprocess.Popen`.
    """

    name: str
    address: str
    port: int | None
    command: tuple[str, ...]
    environment: Mapping[str, str]
    is_ready: Callable[[float], bool]
    prepare: Callable[[], None] = _nothing
    set_up: Callable[[], None] = _nothing
    stop_signal: signal.Signals = signal.SIGTERM
    start: Mapping[str, Any] = field(default_factory=dict)
