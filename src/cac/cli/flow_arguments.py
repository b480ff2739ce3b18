"""The arguments of `python -m flows VERB`. What each verb does is in `flows/`.

The arguments of a verb are added only if the command line names it, because the defaults of `improve` take seconds to
import.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cac.cli.options import add_ratio_options
from cac.paths import STEPS

AddArguments = Callable[[argparse.ArgumentParser], None]


def parse_flow_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line; `verb` is the verb, the other fields are its arguments."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m flows", description="Run the workflows of this project.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in _VERBS:
        subparser = verbs.add_parser(verb.name, help=verb.summary, description=verb.summary)
        if argv and argv[0] == verb.name:
            verb.add_arguments(subparser)
    return parser.parse_args(argv)


def add_reproduce_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `reproduce`, which `cac reproduce` shares."""
    parser.add_argument("version", metavar="VERSION", help="a version's number, or an alias such as champion")
    parser.add_argument("--use-cache", action="store_true", help="let DVC take results from this checkout's cache")
    parser.add_argument("--keep", action="store_true", help="keep the worktree even if all hashes are equal")


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--until", default=STEPS[-1], choices=STEPS, metavar="STEP", help=f"the last step to run: {', '.join(STEPS)}"
    )


def _add_no_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the verb has no arguments."""


def _add_ingest_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("landing", metavar="LANDING", help="s3://BUCKET/FOLDER with one folder per delivery")
    parser.add_argument(
        "--branch", default="ingested", metavar="NAME", help="git branch for the new versions; default: %(default)s"
    )
    add_ratio_options(parser, "ratio of new clips; default: as in the dataset's card")


def _add_monitor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", nargs="?", metavar="SOURCE", help="a folder or s3://bucket/prefix; default: monitoring.source"
    )


def _add_improve_arguments(parser: argparse.ArgumentParser) -> None:
    from cac.rl.downstream.experiment import Setup

    setup = Setup()
    training = setup.training
    parser.add_argument("--model", metavar="URI", help="a registered version; default: the champion")
    numbers = {
        "seeds": (3, "runs with the motion term"),
        "seeds-without": (3, "runs without the motion term"),
        "updates": (training.updates, "training steps"),
        "prompts": (training.prompts, "prompts per step"),
        "group": (training.group, "clips per prompt"),
        "evaluated": (setup.prompts, "prompts to evaluate a generator on"),
        "candidates": (setup.candidates, "clips per evaluated prompt; the N of best-of-N"),
        "reference-clips": (setup.reference_clips, "clips of the untrained generator for the reference motion"),
    }
    for name, (default, text) in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{text}; default: {default}")


@dataclass(frozen=True)
class _Verb:
    name: str
    summary: str
    add_arguments: AddArguments


_VERBS = (
    _Verb("run", "Run the pipeline: validate, train, evaluate, register, promote.", _add_run_arguments),
    _Verb("data", "Check that data/ is what data.dvc names; fetch or render it if it is missing.", _add_no_arguments),
    _Verb("ingest", "Add new clips from S3 to the dataset.", _add_ingest_arguments),
    _Verb("monitor", "Compare recent production clips with the champion's test clips.", _add_monitor_arguments),
    _Verb(
        "improve", "Train a small clip generator with the reward model and measure the result.", _add_improve_arguments
    ),
    _Verb("reproduce", "Train a registered version again and compare the hashes.", add_reproduce_arguments),
)
