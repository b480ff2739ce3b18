"""The verbs of `cac drift`: their arguments and what they print.

`main.py` imports this module for every verb, so everything else is imported inside the functions.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cac.monitoring.drift import DriftResult
    from cac.monitoring.report import DriftCheck

# (name, function, help text, message after an interruption) → parser
AddVerb = Callable[[str, Callable[[argparse.Namespace], int], str, str], argparse.ArgumentParser]

_RESUMES = "The scores so far are saved; run the same command again to resume."


def add_drift_verbs(add: AddVerb) -> None:
    """Add the verbs with their arguments."""
    check = add("check", _check, "compare recent clips with the champion's reference clips", _RESUMES)
    check.add_argument("source", metavar="SOURCE", help="a folder, or s3://bucket/prefix")
    check.add_argument("--out", type=Path, metavar="FILE", help="write the report to FILE as JSON")
    check.add_argument("--picture", type=Path, metavar="PNG", help="write the picture to PNG")
    accept = add("accept", _accept, "accept the clips of a check as the new reference", "Nothing was changed.")
    accept.add_argument("run_id", metavar="RUN", help="the MLflow run id that `cac drift check` printed")


def _check(args: argparse.Namespace) -> int:
    from cac.cli.console import write_json
    from cac.cli.outputs import JSON, PNG, check_file
    from cac.monitoring.check import check_drift
    from cac.params import load_params
    from cac.paths import SCRATCH

    check_file("--out", args.out, JSON)
    check_file("--picture", args.picture, PNG)
    found = check_drift(Path.cwd(), load_params(args.params), args.source, SCRATCH / "monitoring")
    if args.out:
        write_json(args.out, found)
    if args.picture:
        _copy_picture(found.run_id, args.picture)
    _print(found)
    return 0


def _accept(args: argparse.Namespace) -> int:
    from cac.monitoring.records import accept
    from cac.params import load_params

    record = accept(load_params(args.params), args.run_id)
    print(f"the {record.clips} clips of {record.source} are now the reference of version {record.model_version}")
    return 0


def _copy_picture(run_id: str, path: Path) -> None:
    import shutil
    from tempfile import TemporaryDirectory

    from cac.io.aside import new_file
    from cac.monitoring.records import fetch_picture
    from cac.tracking.mlflow_runs import connect

    with TemporaryDirectory(prefix="cac-drift-") as scratch:
        found = fetch_picture(connect(), run_id, Path(scratch))
        if found:
            with new_file(path) as picture:
                shutil.copy(found, picture)


def _print(found: "DriftCheck") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    report = found.report
    if report.measures:
        table = Table("measure", "reference", "recent", "distance", "p", "drifted", box=box.SIMPLE_HEAD)
        for one in report.measures:
            table.add_row(
                one.measure, *_values(one), _number(one.distance), _p(one.p_value), "YES" if one.drifted else "no"
            )
        Console(width=110).print(table)
    skipped = f" ({report.already_alarmed} skipped: already alarmed)" if report.already_alarmed else ""
    earlier = "" if found.new else " (earlier result)"
    print(f"{report.outcome}{earlier}: {report.clips} clips of {report.source}{skipped}, scored by {report.model}")
    if report.reference:
        print(f"compared with {report.reference}")
    print(f"run {found.run_id}")


def _values(one: "DriftResult") -> tuple[str, str]:
    return _value(one.before), _value(one.after)


def _value(value: float | dict[str, float] | None) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {share:.0%}" for name, share in value.items() if share)
    return "–" if value is None else f"median {value:.3f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _p(value: float | None) -> str:
    return "< 0.001" if value is not None and value < 0.001 else _number(value)
