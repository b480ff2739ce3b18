"""Ingests the deliveries of a bucket, without Prefect, once for each named step: the run is killed after that step.

Arguments: the s3:// address, and names of functions of `flows.ingest_steps` or methods of `DataWorktree`; "none" kills
no run. Each run is a process of its own, forked from one with all imports; its exit code is printed last.
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
from flows import ingest_steps
from flows.support.git_worktree import DataWorktree, open_data_worktree


def killing(step: Callable[..., Any]) -> Callable[..., Any]:
    def last(*arguments: Any) -> None:
        step(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    return last


def take_in(url: str, step: str) -> None:
    for owner in (ingest_steps, DataWorktree):
        if hasattr(owner, step):
            setattr(owner, step, killing(getattr(owner, step)))
    scratch = Path.cwd() / ".scratch" / "ingestion"
    worktree = open_data_worktree(Path.cwd(), scratch, "ingested", print)
    work = ingest_steps.Ingestion(Bucket(url), worktree, scratch, SplitRatios(0.2, 0.2), print)
    for delivery in ingest_steps.pending_deliveries(work):
        ingest_steps.ingest_delivery(work, delivery)
    announcement = ingest_steps.next_announcement(work)
    if announcement:
        print("announce", announcement.payload())
        ingest_steps.mark_announced(work, announcement)


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
