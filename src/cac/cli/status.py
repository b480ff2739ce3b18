"""The verb `cac status`: its arguments and what it prints."""

import argparse
from collections.abc import Callable
from pathlib import Path

from cac.errors import EXIT_ATTENTION

AddVerb = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def add_status_verb(add: AddVerb) -> None:
    """Add the verb with its arguments."""
    status = add("status", _status, "show data, stages, models, runs and drift on one screen")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    status.add_argument(
        "--exit-code", action="store_true", help=f"exit with {EXIT_ATTENTION} if anything asks for attention"
    )


def _status(args: argparse.Namespace) -> int:
    import json

    from cac.params import load_params
    from cac.status.overview import overview

    found = overview(Path.cwd(), load_params(args.params))
    if args.json:
        print(json.dumps(found.to_dict(), indent=2, sort_keys=True))
    else:
        from cac.cli.status_screen import print_screen

        print_screen(found)
    return EXIT_ATTENTION if args.exit_code and found.attention else 0
