"""The verb `cac plan`: its arguments and what it prints."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cac.cli.status import AddVerb

if TYPE_CHECKING:
    from cac.training.plan import Plan, ShapePlan


def add_plan_verb(add: AddVerb) -> None:
    """Add the verb with its arguments."""
    plan = add("plan", _plan, "show what the settings mean for the dataset: frames, tokens, segments, what is seen")
    plan.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="the dataset (default: data)")
    plan.add_argument("--json", action="store_true", help="print one JSON object")


def _plan(args: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from cac.params import load_params
    from cac.training.plan import make_plan

    plan = make_plan(load_params(args.params), args.data)
    if args.json:
        print(json.dumps(asdict(plan), indent=2, sort_keys=True))
    else:
        _print_plan(plan)
    return 0


def _print_plan(plan: "Plan") -> None:
    from cac.cli.console import make_table, wide_console
    from cac.training.plan import WINDOWS

    table = make_table(
        *("clips", "size", "fps", "up to", "segments", "frames", "scan", "look", "dialogue"),
        *(f"{window:g} s" for window in WINDOWS),
    )
    for one in plan.shapes:
        table.add_row(*_row(one))
    wide_console().print(table)
    print("scan, look, dialogue: tokens of a segment, at most; the last columns: windows of that length that are seen")
    if plan.others:
        print(f"{plan.others} clips have other shapes")
    print(f"{plan.clips} clips, {plan.bytes / 1e6:,.1f} MB; {plan.segments} segments in the table")
    for stage, tokens in plan.step_tokens.items():
        print(f"{stage}: {tokens:,} tokens of two-turn dialogues an optimiser step, on average")


def _row(one: "ShapePlan") -> list[str]:
    from cac.training.plan import WINDOWS

    seen = [f"{one.seen[window]:.0%}" if window in one.seen else "–" for window in WINDOWS]
    shape = one.shape
    tokens = (one.scan_tokens, one.look_tokens, one.dialogue_tokens)
    return [
        str(one.clips),
        f"{shape.width}x{shape.height}",
        f"{shape.fps:g}",
        f"{shape.seconds} s",
        str(one.segments),
        f"{one.coarse} + {one.dense}",
        *(f"{count:,}" for count in tokens),
        *seen,
    ]
