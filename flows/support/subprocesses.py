"""Run one command at a time, show its output line by line, and stop it on Ctrl-C or after a time limit.

Each command has its own process group, so that a Ctrl-C in the terminal reaches it exactly once, through this process.
The first Ctrl-C sends SIGINT, the second one SIGKILL. A time limit does the same, a minute apart.
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

_TAIL = 200  # lines kept for error messages
_GRACE_SECONDS = 60.0  # after SIGINT, before SIGKILL
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Finished:
    """How a command ended.

    Attributes:
        code: its exit code; negative: the signal that killed it.
        tail: its last lines.
        timed_out: whether it was stopped after its time limit.
    """

    code: int
    tail: tuple[str, ...]
    timed_out: bool = False


class SubprocessRunner:
    """Runs the commands of one run.

    Attributes:
        interrupted: whether a signal interrupted the run; no further command is started then.
        lock: the run's lock, which every command inherits.
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
        """Run a command and pass each line of its output, stderr included, to `show`.

        Of a progress bar, which overwrites its line, only the final state is shown. After `limit` seconds the command
        is stopped; None means no limit.
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
        """Let SIGINT, SIGTERM and SIGHUP stop the running command instead of this process."""
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
    """Stop the process after `limit` seconds; yield an event that is set if that happened."""
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
    """Signal a command's process group, which may outlive its first process and keep the output open."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


RUNNER = SubprocessRunner()
