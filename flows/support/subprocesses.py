"""Running one command at a time, its output passed on line by line, and stopping it on Ctrl-C.

A command gets a process group of its own, so that a Ctrl-C in the terminal reaches it once, through us, whoever the
terminal sends it to. The first one asks it to end (SIGINT), the second one kills it. A time limit, for a command that
hangs, does the one and a minute later the other.
"""

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any

from flows.support.run_lock import RunLock

_TAIL = 200  # lines kept for the message at the end
_GRACE_SECONDS = 60.0  # for a command whose time is over to end by itself
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Finished:
    """How a command ended.

    Attributes:
        code: its exit code; negative: the signal that killed it.
        tail: its last lines.
        timed_out: whether it was stopped because its time was over.
    """

    code: int
    tail: tuple[str, ...]
    timed_out: bool = False


class SubprocessRunner:
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

    def run(
        self, command: Sequence[str], show: Callable[[str], Any], cwd: Path, limit: float | None = None
    ) -> Finished:
        """Run a command to its end, showing each line of its output, errors included, as it comes.

        A progress bar that overwrites its line is shown as it stands when the line ends. After `limit` seconds the
        command is stopped; None lets it take what it takes.
        """
        if self.interrupted:
            return Finished(-signal.SIGINT, ())
        tail: deque[str] = deque(maxlen=_TAIL)
        with self._started(command, cwd) as process, _limited(process, limit) as over:
            assert process.stdout is not None
            for line in TextIOWrapper(process.stdout, errors="replace", newline="\n"):
                tail.append(line.rstrip("\r\n").rsplit("\r", 1)[-1])
                show(tail[-1])
            code = process.wait()
        self.last = Finished(code, tuple(tail), over.is_set())
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
        if self._process is not None:
            _signal_group(self._process, number)


@contextmanager
def _limited(process: subprocess.Popen[bytes], limit: float | None) -> Iterator[threading.Event]:
    """Stop the process when `limit` seconds are over; yield the event that tells that they were."""
    over, ended = threading.Event(), threading.Event()

    def stop() -> None:
        if ended.wait(limit):
            return
        over.set()
        _signal_group(process, signal.SIGINT)
        if not ended.wait(_GRACE_SECONDS):
            _signal_group(process, signal.SIGKILL)

    if limit is not None:
        threading.Thread(target=stop, daemon=True).start()
    try:
        yield over
    finally:
        ended.set()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal whoever is left of a command, which may outlive its first process and hold its output open."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


RUNNER = SubprocessRunner()
