"""`python -m flows.downstream_rl`: does the reward make a generator better? Serve Prefect, run the experiment's flow.

Exit codes: 0 done, whatever was found; 1 a run failed; 2 a mistake the user can mend; 130 interrupted.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cac.params import load_params
from cac.paths import SCRATCH
from cac.rl.downstream.experiment import WITH_MOTION, WITHOUT_MOTION, Run, Setup
from cac.rl.downstream.grpo import Training
from flows.support.environment import prepare, stay_offline
from flows.support.exits import guarded, told
from flows.support.prefect_server import local_server
from flows.support.run_lock import run_lock

_LOCK = SCRATCH / "downstream.lock"
_INTERRUPTED = "Interrupted. Finished runs are kept; the same command goes on from there."


@guarded(_INTERRUPTED)
def main(argv: Sequence[str] | None = None) -> int:
    """Make the runs that are missing, write the summary, and return the exit code."""
    args = _parser().parse_args(argv)
    root = Path.cwd()
    prepare(root)
    training = Training(args.updates, args.prompts, args.group)
    setup = Setup(training, args.evaluated, args.candidates, args.reference_clips)
    runs = _runs({WITH_MOTION: args.seeds, WITHOUT_MOTION: args.seeds_without})
    uri = args.model or _champion(root)
    with run_lock(root / _LOCK), local_server(root / SCRATCH / "prefect" / "downstream.log"):
        return _run(uri, setup, runs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.downstream_rl",
        description="Train a small generator of clips against the reward model, and measure what it truly does.",
    )
    setup, training = Setup(), Training()
    parser.add_argument("--model", metavar="URI", help="a registered version; default: the champion")
    numbers = {
        "seeds": (3, "runs with the motion term"),
        "seeds-without": (3, "runs without it"),
        "updates": (training.updates, "steps of the training"),
        "prompts": (training.prompts, "prompts of a step"),
        "group": (training.group, "clips of each"),
        "evaluated": (setup.prompts, "prompts that a generator is measured on"),
        "candidates": (setup.candidates, "clips of each; the N of best-of-N"),
        "reference-clips": (setup.reference_clips, "untrained clips that the reference motion is measured on"),
    }
    for name, (default, what) in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{what}; default: {default}")
    return parser


def _runs(seeds: Mapping[str, int]) -> list[Run]:
    """Return the runs of as many seeds as each arm has, seed by seed."""
    return [Run(arm, seed) for seed in range(max(seeds.values())) for arm, count in seeds.items() if seed < count]


def _champion(root: Path) -> str:
    return f"models:/{load_params(root / 'params.yaml').registry.model_name}@champion"


def _run(uri: str, setup: Setup, runs: Sequence[Run]) -> int:
    stay_offline()  # a registered model brings its base, or names one that is in the cache
    from flows.downstream import downstream  # Prefect reads its settings here, so no sooner

    state = downstream(uri, setup, runs, return_state=True)
    return told(state)


if __name__ == "__main__":
    sys.exit(main())
