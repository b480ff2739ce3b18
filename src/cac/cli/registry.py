"""The verbs of the registry: registering, promoting, taking back, listing, reproducing; what they print.

Imported by `cli.py` before it is known which verb runs, so all else is imported inside the verbs.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from cac.cli.flow_arguments import add_reproduce_arguments
from cac.cli.options import RenamedOption
from cac.errors import EXIT_REFUSED, CacError

AddVerb = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def add_registry_verbs(add: AddVerb) -> None:
    """Add the verbs with their arguments."""
    register = add("register", _register, "register the trained model in MLflow")
    register.add_argument("--out", type=Path, metavar="FILE", help="write the registered version to FILE as JSON")
    promote = add("promote", _promote, "make a registered version the champion if it passes the gate")
    promote.add_argument("--version", required=True, metavar="N", help="the version `cac register` printed")
    promote.add_argument(
        "--remeasure",
        action="store_true",
        help="first evaluate the champion and the best version on the current test split",
    )
    promote.add_argument("--remeasure-champion", action=RenamedOption, new_name="--remeasure")
    promote.add_argument(
        "--despite-rollback", action="store_true", help="promote the version even if it was rolled back"
    )
    promote.add_argument("--despite-veto", action="store_true", help="promote the version even if it was vetoed")
    promote.add_argument("--out", type=Path, metavar="FILE", help="write the decision to FILE as JSON")
    veto = add("veto", _veto, "keep a registered version from becoming the champion")
    veto.add_argument("--version", required=True, metavar="N", help="the version `cac registry` lists")
    veto.add_argument("--reason", required=True, metavar="TEXT", help="reason for the veto; stored with the version")
    rollback = add("rollback", _rollback, "make the previous champion the champion again")
    rollback.add_argument(
        "--reason", required=True, metavar="TEXT", help="reason for the rollback; stored with both versions"
    )
    pin = add("pin", _pin, "make a registered version the best, which the gate compares candidates with")
    pin.add_argument("--version", required=True, metavar="N", help="the version `cac registry` lists")
    pin.add_argument("--reason", required=True, metavar="TEXT", help="reason for the pin; stored with the version")
    registry = add("registry", _registry, "list the registered versions with metrics and gate result")
    registry.add_argument("--json", action="store_true", help="print one JSON object a version")
    card = add("model-card", _model_card, "write the model card of the trained model")
    card.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to make")
    again = add("reproduce", _reproduce, "reproduce a registered version and compare hashes")
    add_reproduce_arguments(again)


def _register(args: argparse.Namespace) -> int:
    from cac.cli.console import write_json
    from cac.cli.outputs import JSON, check_file
    from cac.params import load_params
    from cac.registry.register import register

    check_file("--out", args.out, JSON)
    registered = register(Path.cwd(), load_params(args.params))
    if args.out:
        write_json(args.out, registered)
    print(f"registered {registered.name} version {registered.version}")
    return 0


def _promote(args: argparse.Namespace) -> int:
    from cac.cli.console import write_json
    from cac.cli.outputs import JSON, check_file
    from cac.cli.registry_tables import print_decision
    from cac.params import load_params
    from cac.registry.promote import promote

    check_file("--out", args.out, JSON)
    decision = promote(
        load_params(args.params),
        args.version,
        remeasure_in=Path.cwd() if args.remeasure else None,
        despite_rollback=args.despite_rollback,
        despite_veto=args.despite_veto,
    )
    if args.out:
        write_json(args.out, decision)
    print_decision(decision)
    return 0 if decision.passed else EXIT_REFUSED


def _rollback(args: argparse.Namespace) -> int:
    from cac.params import load_params
    from cac.registry.overrides import rollback

    record = rollback(load_params(args.params), args.reason)
    print(f"{record.model_name} version {record.restored} is the champion again; it replaces version {record.version}")
    return 0


def _veto(args: argparse.Namespace) -> int:
    from cac.params import load_params
    from cac.registry.overrides import veto

    record = veto(load_params(args.params), args.version, args.reason)
    print(f"{record.model_name} version {record.version} stays registered, and the gate will refuse it")
    return 0


def _pin(args: argparse.Namespace) -> int:
    from cac.params import load_params
    from cac.registry.pin import pin

    record = pin(load_params(args.params), args.version, args.reason)
    replaced = f"; it replaces version {record.replaced}" if record.replaced not in (None, record.version) else ""
    print(f"{record.model_name} version {record.version} is pinned as the best{replaced}")
    return 0


def _registry(args: argparse.Namespace) -> int:
    from cac.cli.registry_tables import print_versions
    from cac.params import load_params
    from cac.registry.listing import list_versions

    print_versions(list_versions(load_params(args.params)), as_json=args.json)
    return 0


def _model_card(args: argparse.Namespace) -> int:
    from cac.cli.outputs import check_place
    from cac.params import load_params
    from cac.paths import DATASET
    from cac.registry.candidate import read_card_data
    from cac.registry.card.card_files import PAGE, check_new_card, write_card

    check_place("--out", args.out)
    check_new_card(args.out)
    write_card(read_card_data(Path.cwd(), load_params(args.params)), Path.cwd() / DATASET, args.out)
    print(f"wrote {args.out / PAGE}, and the same as Markdown")
    return 0


def _reproduce(args: argparse.Namespace) -> int:
    """Replace this process by `python -m flows reproduce`, which runs DVC; `cac` does not import `flows`."""
    import os

    if not Path("flows", "__main__.py").is_file():
        raise CacError(f"no flows/__main__.py in {Path.cwd()}. Run from the project's root.")
    options = [option for option, given in (("--use-cache", args.use_cache), ("--keep", args.keep)) if given]
    os.execv(sys.executable, [sys.executable, "-m", "flows", "reproduce", *options, "--", args.version])
