"""`python -m flows.ingest LANDING`, what `make ingest` calls: serve Prefect, run the ingestion flow once.

Exit codes: 0 done, also if there was nothing new; 1 a delivery or a step failed; 130 interrupted.
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

_INTERRUPTED = "Interrupted. What was fetched is kept; the same command goes on from there."


@guarded(_INTERRUPTED)
def main(argv: Sequence[str] | None = None) -> int:
    """Take in what lies in a landing place and return the exit code."""
    args = _parser().parse_args(argv)
    prepare(Path.cwd())
    has_server = bool(os.environ.get("PREFECT_API_URL"))  # the temporary one has nobody who listens
    with local_server(Path.cwd() / SCRATCH / "prefect" / "server.log"):
        return _run(args, has_server)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flows.ingest", description="Take in new clips from S3.")
    parser.add_argument("landing", metavar="LANDING", help="s3://BUCKET/FOLDER, with a folder a delivery")
    parser.add_argument("--branch", default="ingested", metavar="NAME", help="where versions go; default: %(default)s")
    for option in ("--val-ratio", "--test-ratio"):
        parser.add_argument(option, type=float, metavar="X", help="of new clips; default: what the dataset's card says")
    return parser


def _run(args: argparse.Namespace, tell: bool) -> int:
    from flows.ingestion import ingestion  # Prefect reads its settings here, so no sooner

    with RUNNER.stopped_by_signals():
        state = ingestion(args.landing, args.branch, args.val_ratio, args.test_ratio, tell, return_state=True)
    return told(state)


if __name__ == "__main__":
    sys.exit(main())
