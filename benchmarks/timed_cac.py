"""The command `cac`; appends the seconds it waited for MLflow to the file CAC_TIMES. Used by `overhead.py` only."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from cac.cli import main as cli
from cac.tracking import mlflow_runs as tracking


class Stopwatch:
    """Adds up the time spent in what it measures."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure a block."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - start

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, measured."""

        @wraps(function)
        def measured(*args: Any, **options: Any) -> Any:
            with self.running():
                return function(*args, **options)

        return measured

    def at_the_ends(self, stage_run: Callable[..., Any]) -> Callable[..., Any]:
        """Return the context manager with its entry and exit measured, but not its body."""

        @contextmanager
        def measured(*args: Any) -> Iterator[Any]:
            manager = stage_run(*args)
            with self.running():
                run = manager.__enter__()
            try:
                yield run
            finally:
                with self.running():
                    manager.__exit__(*sys.exc_info())

        return measured


def main() -> int:
    """Run `cac` with this process's arguments, and append the time."""
    watch = Stopwatch()
    tracking.stage_run = watch.at_the_ends(tracking.stage_run)
    for name in ("log_metrics", "log_text", "log_artifact"):
        setattr(tracking.StageRun, name, watch.around(getattr(tracking.StageRun, name)))
    try:
        return cli.main()
    finally:
        with Path(os.environ["CAC_TIMES"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"verb": " ".join(sys.argv[1:]), "mlflow": watch.seconds}) + "\n")


if __name__ == "__main__":
    sys.exit(main())
