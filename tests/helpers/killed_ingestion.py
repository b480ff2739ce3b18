"""Ingest the deliveries of a landing folder without Prefect, once for each named step; the run is killed after it.

Arguments: the landing folder, and names of functions of `flows.ingest_steps` or methods of `Checkout`; "none" is never
killed. Each run is a process forked from one that has imported everything, and its exit code is printed last.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3  # noqa: F401
import dvc.api  # noqa: F401
import great_expectations  # noqa: F401

from cac.data.versions.groups import SplitRatios
from cac.io.s3 import Bucket
from flows import ingest_steps as landing
from flows.support.data_worktree import Checkout, open_checkout


def killing(step: Callable[..., Any]) -> Callable[..., Any]:
    def last(*arguments: Any) -> None:
        step(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    return last


def take_in(url: str, step: str) -> None:
    for place in (landing, Checkout):
        if hasattr(place, step):
            setattr(place, step, killing(getattr(place, step)))
    scratch = Path.cwd() / ".scratch" / "ingestion"
    checkout = open_checkout(Path.cwd(), scratch, "ingested", print)
    work = landing.Ingestion(Bucket(url), checkout, scratch, SplitRatios(0.2, 0.2), print)
    for delivery in landing.waiting(work):
        landing.take_in(work, delivery)
    told = landing.unannounced(work)
    if told:
        print("announce", told.payload())
        landing.remember(work, told)


def main(url: str, *steps: str) -> None:
    for step in steps:
        child = os.fork()
        if not child:
            code = 1
            try:
                take_in(url, step)
                code = 0
            finally:
                sys.stdout.flush()
                if code:
                    sys.excepthook(*sys.exc_info())
                    sys.stderr.flush()
                os._exit(code)
        print(step, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
