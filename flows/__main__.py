"""`python -m flows.__main__`, what `make run` calls: lock the checkout, check the data, serve Prefect, run the flow.

Exit codes: 0 done; 1 a step failed; 2 a mistake the user can mend; 130 interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cac.cli.console import print_error
from cac.cli.summary import print_summary
from cac.params import load_params
from cac.paths import SCRATCH, STEPS
from flows.data import ensure_data
from flows.support.environment import LOCK_FILE, prepare, stay_offline
from flows.support.exits import guarded
from flows.support.prefect_server import local_server
from flows.support.run_lock import run_lock
from flows.support.subprocesses import RUNNER

_INTERRUPTED = (
    "Interrupted. Finished stages are kept, and checkpoints of the one at work; `make run` goes on from there."
)
_SHOWN = 12  # lines of a failed step that are shown again at the end


@guarded(_INTERRUPTED)
def main(argv: Sequence[str] | None = None) -> int:
    """Run the pipeline in the current folder and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.__main__", description="Run the pipeline, stage by stage.")
    parser.add_argument(
        "--until", default=STEPS[-1], choices=STEPS, metavar="STEP", help=f"the last step to run: {', '.join(STEPS)}"
    )
    args = parser.parse_args(argv)
    root = Path.cwd()
    prepare(root)
    with run_lock(root / LOCK_FILE) as lock:
        RUNNER.lock = lock
        return _run(root, args.until)


def _run(root: Path, until: str) -> int:
    if load_params(root / "params.yaml").model.base == "nano":
        stay_offline()
    with local_server(root / SCRATCH / "prefect" / "server.log", partial(_ready_data, root)):
        message = _run_flow(until)
    if RUNNER.interrupted:
        raise KeyboardInterrupt
    if message:
        print_error(message)
        return 1
    if until in ("evaluate", "register", "promote"):
        print_summary(root)
    return 0


def _ready_data(root: Path) -> None:
    with RUNNER.stopped_by_signals():
        ensure_data(root)


def _run_flow(until: str) -> str | None:
    """Run the flow and return what to tell the user if it failed."""
    from flows.pipeline import flush_logs_and_events, pipeline  # Prefect reads its settings here, so no sooner

    with RUNNER.stopped_by_signals():
        state = pipeline(until=until, return_state=True)
    flush_logs_and_events()
    if state.is_completed():
        return None
    return "\n".join((str(state.message), *extract_error(RUNNER.last.tail if RUNNER.last else ())))


def extract_error(tail: Sequence[str]) -> list[str]:
    """Return a failed step's last words out of its last lines: its error message, or else the end of what it said.

    What DVC adds, that a command failed and which, is left out.
    """
    lines = [line for line in tail if line.strip() and not line.startswith("ERROR: failed to reproduce")]
    messages = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    return lines[messages[-1] :] if messages else lines[-_SHOWN:]


if __name__ == "__main__":
    sys.exit(main())
