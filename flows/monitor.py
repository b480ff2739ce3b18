"""`python -m flows.monitor [PLACE]`, what `make monitor` calls: serve Prefect, run the monitoring flow once.

Exit codes: 0 done, whatever was found; 1 it failed; 2 a mistake the user can mend; 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cac.paths import SCRATCH
from flows.support.environment import prepare
from flows.support.exits import guarded, told
from flows.support.prefect_server import local_server
from flows.support.subprocesses import RUNNER

_INTERRUPTED = "Interrupted. The clips scored so far are kept; the same command goes on from there."


@guarded(_INTERRUPTED)
def main(argv: Sequence[str] | None = None) -> int:
    """Monitor the clips of a place and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.monitor", description="Watch recent clips of production.")
    parser.add_argument(
        "place", nargs="?", metavar="PLACE", help="a folder or s3://bucket/prefix; default: monitoring.source"
    )
    args = parser.parse_args(argv)
    prepare(Path.cwd())
    has_server = bool(os.environ.get("PREFECT_API_URL"))  # the temporary one has nobody who listens
    with local_server(Path.cwd() / SCRATCH / "prefect" / "server.log"):
        return _run(args.place, has_server)


def _run(place: str | None, tell: bool) -> int:
    from flows.monitoring import monitoring  # Prefect reads its settings here, so no sooner

    with RUNNER.stopped_by_signals():
        state = monitoring(place, tell, return_state=True)
    return told(state)


if __name__ == "__main__":
    sys.exit(main())
