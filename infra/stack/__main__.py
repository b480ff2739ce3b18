"""`python -m infra.stack VERB`, which `make stack` calls: start, run, stop, status, env, settings.

Exit codes: 0 success; 1 a service is down (`status`); 2 an error the user can correct; 130 interrupted.
"""

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cac.cli.console import print_error
from cac.errors import EXIT_INTERRUPTED, EXIT_MISTAKE, CacError
from infra.stack.local_stack import Stack, open_stack
from infra.stack.processes import end_processes, is_alive
from infra.stack.services import start_groups
from infra.stack.supervisor import Stopped, Supervisor

_UP = "The stack is up."
_STOP_SECONDS = 120
_GRACE_SECONDS = 20
_RECENT_SECONDS = 90  # a worker reports every 30
_BACKGROUND = "CAC_STACK_BACKGROUND"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb on the stack of the current folder and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.stack", description="Manage the local stack of services.")
    parser.add_argument("--root", type=Path, default=Path(), help="the project folder (default: the current one)")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb in (_start, _run, _stop, _status, _env, _settings):
        name = verb.__name__.removeprefix("_")
        verbs.add_parser(name, help=verb.__doc__, description=verb.__doc__).set_defaults(verb=verb)
    args = parser.parse_args(argv)
    try:
        result: int = args.verb(open_stack(args.root.resolve()))
        return result
    except CacError as error:
        print_error(str(error))
        return EXIT_MISTAKE


def _start(stack: Stack) -> int:
    """Start the services in the background and return when all are ready."""
    if _supervisor_pid(stack):
        print(f"{_UP} It was already running.\n{_overview(stack)}")
        return 0
    command = (sys.executable, "-m", "infra.stack", "--root", str(stack.root), "run")
    process = subprocess.Popen(
        command,
        env=os.environ | {_BACKGROUND: "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    try:
        return _relay_output(process)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        print("Interrupted; stopped the stack.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run(stack: Stack) -> int:
    """Run the services in the foreground; Ctrl-C stops them."""
    with _locked(stack):
        supervisor = Supervisor(stack, lambda line: print(line, flush=True))
        try:
            supervisor.start()
            print(f"{_overview(stack)}\n{_UP}", flush=True)
            if _BACKGROUND in os.environ:
                _redirect_output_to_log(stack)
            supervisor.watch()
        except Stopped:
            print("stopping", flush=True)
        finally:
            supervisor.stop()
    return 0


def _stop(stack: Stack) -> int:
    """Stop the services and all processes they started, also after the supervisor was killed."""
    supervisor = _supervisor_pid(stack)
    if supervisor:
        os.kill(supervisor, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while is_alive(supervisor):
            if time.monotonic() > deadline:
                raise CacError(f"the stack's supervisor, process {supervisor}, does not end. Kill it and retry.")
            time.sleep(0.1)
    ended = end_processes(lambda mark: mark.startswith(f"{stack.state}#"), _GRACE_SECONDS)
    print("The stack is stopped." if supervisor or ended else "The stack was not running.")
    return 0


def _status(stack: Stack) -> int:
    """Print which services are ready."""
    services = [service for group in start_groups(stack) for service in group]
    ready = [service.is_ready(time.time() - _RECENT_SECONDS) for service in services]
    for service, up in zip(services, ready, strict=True):
        print(f"{service.name:<10}{'ready' if up else 'down':<7}{service.address}")
    return 0 if all(ready) else 1


def _env(stack: Stack) -> int:
    """Print the environment of clients of the stack, passwords included: eval "$(python -m infra.stack env)"."""
    for name, value in stack.client_environment().items():
        print(f"export {name}={value}")
    return 0


def _settings(stack: Stack) -> int:
    """Create infra/.env with new passwords, if it does not exist."""
    print(f"The settings are in {stack.root / 'infra' / '.env'}.")
    return 0


def _relay_output(process: subprocess.Popen[str]) -> int:
    """Print the supervisor's output until the stack is up or the supervisor ends; return the exit code."""
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        if line.strip() == _UP:
            return 0
    return process.wait()


def _redirect_output_to_log(stack: Stack) -> None:
    """Redirect the output of this process, which `start` has read so far, to a log."""
    descriptor = os.open(stack.logs / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, sys.stdout.fileno())
    os.dup2(descriptor, sys.stderr.fileno())
    os.close(descriptor)


def _overview(stack: Stack) -> str:
    lines = [f"  {service.name:<10}{service.address}" for group in start_groups(stack) for service in group]
    hints = (
        "Prefect's user is cac; the password is STACK_PREFECT_PASSWORD in infra/.env.",
        f'Logs: {stack.logs}. Use it: eval "$(python -m infra.stack env)". Stop it: make stack-stop',
    )
    return "\n".join((*lines, *hints))


@contextmanager
def _locked(stack: Stack) -> Iterator[None]:
    """Hold the lock of the stack; the kernel releases it when this process ends for any reason."""
    stack.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with stack.lock_file.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CacError("the stack is already running. Stop it: make stack-stop") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _supervisor_pid(stack: Stack) -> int | None:
    """Return the process id of the supervisor, or None if the stack is not running."""
    if not stack.lock_file.exists():
        return None
    with stack.lock_file.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            number = file.read()
            return int(number) if number else None
    return None


if __name__ == "__main__":
    sys.exit(main())
