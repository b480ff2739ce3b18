"""Running one command at a time, its output passed on line by line, and stopping it on Ctrl-C.

A command gets a process group of its own, so that a Ctrl-C in the terminal reaches it once, through us, whoever the
terminal sends it to. The first one asks it to end (SIGINT), the second one kills it.
"""

import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any

from flows.lock import RunLock

_TAIL = 200  # lines kept for the message at the end
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Finished:
    """How a command ended: its exit code (negative: the signal that killed it), and its last lines."""

    code: int
    tail: tuple[str, ...]


class Commands:
    """Runs commands for one run of the pipeline.

    Attributes:
        interrupted: whether a signal asked the run to end; no further command is started then.
        lock: the run's lock, which every command holds, too.
        last: how the last command ended.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self.lock: RunLock | None = None
        self.last: Finished | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, command: Sequence[str], show: Callable[[str], Any], cwd: Path) -> Finished:
        """Run a command to its end, showing each line of its output, errors included, as it comes.

        A progress bar that overwrites its line is shown as it stands when the line ends.
        """
        if self.interrupted:
            return Finished(-signal.SIGINT, ())
        tail: deque[str] = deque(maxlen=_TAIL)
        with self._started(command, cwd) as process:
            assert process.stdout is not None
            for line in TextIOWrapper(process.stdout, errors="replace", newline="\n"):
                tail.append(line.rstrip("\r\n").rsplit("\r", 1)[-1])
                show(tail[-1])
            code = process.wait()
        self.last = Finished(code, tuple(tail))
        return self.last

    @contextmanager
    def _started(self, command: Sequence[str], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(self.lock.descriptor,) if self.lock else (),
        )
        self._process = process
        try:
            if self.lock:
                self.lock.name_command(process.pid)
            if self.interrupted:  # the signal came while the process was being started
                self._signal(signal.SIGINT)
            yield process
        except BaseException:
            self._signal(signal.SIGINT)
            process.wait()
            raise
        finally:
            self._process = None

    @contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """Let SIGINT, SIGTERM and SIGHUP end the running command instead of this process."""
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal(signal.SIGKILL if self.interrupted else signal.SIGINT)
        self.interrupted = True

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)


COMMANDS = Commands()
