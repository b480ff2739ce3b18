"""`python -m flows VERB`: run one flow, prepare the dataset, or reproduce a registered version.

The arguments are in `cac.cli.flow_arguments`. Prefect reads its settings when it is imported, so each verb imports its
flow only once the environment is set and the server runs.

Exit codes: 0 done, whatever a flow found; 1 a step, delivery or run failed, or hashes differ; 2 an error the user can
fix; 130 interrupted.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cac.cli.flow_arguments import parse_flow_arguments
from cac.cli.summary import print_summary
from cac.params import load_params
from cac.paths import SCRATCH
from flows.data import ensure_data
from flows.support.environment import LOCK_FILE, prepare, stay_offline
from flows.support.exits import exit_code
from flows.support.flow_run import run_flow
from flows.support.preconditions import (
    check_experiment,
    check_ingestion,
    check_monitoring,
    require_data_version,
    require_stages,
)
from flows.support.run_lock import run_lock
from flows.support.subprocesses import RUNNER

if TYPE_CHECKING:
    from prefect import State

    from cac.rl.downstream.experiment import Run

_SERVER_LOG = SCRATCH / "prefect" / "server.log"
_RESUMES = "The same command resumes from there."


class _Command(Protocol):
    def __call__(self, root: Path, args: Namespace) -> int: ...


@dataclass(frozen=True)
class _Verb:
    command: _Command
    on_interrupt: str


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb in the current folder and return the exit code."""
    args = parse_flow_arguments(argv)
    verb = _VERBS[args.verb]
    return exit_code(partial(_run_verb, verb, args), f"Interrupted. {verb.on_interrupt}")


def _run_verb(verb: _Verb, args: Namespace) -> int:
    root = Path.cwd()
    prepare(root)
    return verb.command(root, args)


def _run(root: Path, args: Namespace) -> int:
    params = require_stages(root)
    with run_lock(root / LOCK_FILE) as lock:
        RUNNER.lock = lock
        if params.model.base == "nano":
            stay_offline()
        start = partial(_start_pipeline, args.until)
        code = run_flow(start, root / _SERVER_LOG, partial(_prepare_data, root), show_command_error=True)
        if code == 0 and args.until in ("evaluate", "register", "promote"):
            print_summary(root)
        return code


def _prepare_data(root: Path) -> None:
    with RUNNER.stopped_by_signals():
        ensure_data(root)


def _start_pipeline(until: str) -> "State":
    from flows.pipeline import pipeline

    return pipeline(until=until, return_state=True)


def _data(root: Path, args: Namespace) -> int:
    require_data_version(root)
    with run_lock(root / LOCK_FILE) as lock:
        RUNNER.lock = lock
        _prepare_data(root)
    print("data/ is ready: it matches data.dvc.")
    return 0


def _ingest(root: Path, args: Namespace) -> int:
    shares = (args.val_ratio, args.test_ratio)
    check_ingestion(root, args.landing, args.branch, shares)
    has_server = _has_server()

    def start() -> "State":
        from flows.ingestion import ingestion

        return ingestion(args.landing, args.branch, *shares, send_events=has_server, return_state=True)

    return run_flow(start, root / _SERVER_LOG)


def _monitor(root: Path, args: Namespace) -> int:
    check_monitoring(root, args.source)
    has_server = _has_server()

    def start() -> "State":
        from flows.monitoring import monitoring

        return monitoring(args.source, send_events=has_server, return_state=True)

    return run_flow(start, root / _SERVER_LOG)


def _has_server() -> bool:
    """Whether a permanent Prefect server is configured. Nothing listens to the events of the temporary one."""
    return bool(os.environ.get("PREFECT_API_URL"))


def _improve(root: Path, args: Namespace) -> int:
    from cac.rl.downstream.experiment import WITH_MOTION, WITHOUT_MOTION, Setup
    from cac.rl.downstream.grpo import Training

    setup = Setup(
        Training(args.updates, args.prompts, args.group), args.evaluated, args.candidates, args.reference_clips
    )
    runs = _experiment_runs({WITH_MOTION: args.seeds, WITHOUT_MOTION: args.seeds_without})
    uri = args.model or f"models:/{load_params(root / 'params.yaml').registry.model_name}@champion"
    check_experiment(uri, args.seeds)
    stay_offline()  # a registered model contains its base, or names one that is in the cache

    def start() -> "State":
        from flows.downstream import downstream

        return downstream(uri, setup, runs, return_state=True)

    with run_lock(root / SCRATCH / "downstream.lock"):
        return run_flow(start, root / SCRATCH / "prefect" / "downstream.log", runs_commands=False)


def _experiment_runs(seeds: Mapping[str, int]) -> "list[Run]":
    """Return one run for each seed of each arm, in the order of the seeds; `seeds` is the number of seeds by arm."""
    from cac.rl.downstream.experiment import Run

    return [Run(arm, seed) for seed in range(max(seeds.values())) for arm, count in seeds.items() if seed < count]


def _reproduce(root: Path, args: Namespace) -> int:
    from flows.reproduce import reproduce

    return reproduce(root, args.version, use_cache=args.use_cache, keep=args.keep)


_VERBS = {
    "run": _Verb(
        _run, "Finished stages and the checkpoints of the running stage are kept; `make run` resumes from there."
    ),
    "data": _Verb(_data, "`make data` starts over."),
    "ingest": _Verb(_ingest, f"Fetched files are kept. {_RESUMES}"),
    "monitor": _Verb(_monitor, f"The clips scored so far are kept. {_RESUMES}"),
    "improve": _Verb(_improve, f"Finished runs are kept. {_RESUMES}"),
    "reproduce": _Verb(_reproduce, f"Finished stages and the checkpoints of the running stage are kept. {_RESUMES}"),
}


if __name__ == "__main__":
    sys.exit(main())
