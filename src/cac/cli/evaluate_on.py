"""`cac evaluate-on`: its arguments and what it prints.

`main.py` imports this module for every verb, so everything else is imported inside the functions.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cac.cli.scoring import DEFAULT_MODEL, AddVerb

if TYPE_CHECKING:
    from rich.table import Table

    from cac.evaluation.benchmarks.evaluate_on import BenchmarkReport
    from cac.evaluation.intervals import Interval
    from cac.registry.pinned import PinnedModel

# Named here as well as in evaluation/benchmarks, so that `--help` need not import it.
BENCHMARKS = ("artifact-bench", "videogen-rewardbench", "genai-bench", "vif-bench")
_OUT = Path("reports") / "benchmarks"
_KEPT = "The clips judged so far are kept; run the same command again to resume."
_SHOWN = 3  # names a reason


def add_benchmark_verb(add: AddVerb) -> None:
    """Add the verb with its arguments."""
    verb = add("evaluate-on", _evaluate_on, "evaluate a model on somebody else's benchmark, in its terms", _KEPT)
    verb.add_argument("benchmark", choices=BENCHMARKS, metavar="FORMAT", help=", ".join(BENCHMARKS))
    verb.add_argument("folder", type=Path, metavar="FOLDER", help="the benchmark's files and videos")
    source = verb.add_mutually_exclusive_group()
    source.add_argument("--model", metavar="URI", help=f"resolved once (default: {DEFAULT_MODEL})")
    source.add_argument("--package", type=Path, metavar="DIR", help="a model package in a folder instead")
    verb.add_argument(
        "--label-map", type=Path, metavar="YAML", help="which leaf each of the benchmark's kinds of artefact is"
    )
    verb.add_argument("--out", type=Path, metavar="DIR", help=f"the folder to write (default: {_OUT}/FORMAT)")
    verb.add_argument("--strict", action="store_true", help="measure nothing if a row or a video is refused")
    verb.add_argument("--device", default="cpu", help="as PyTorch names it (default: cpu)")
    verb.add_argument("--batch-size", type=int, default=8, metavar="N", help="videos judged together (default: 8)")


def _evaluate_on(args: argparse.Namespace) -> int:
    from cac.cli.outputs import check_place
    from cac.evaluation.benchmarks.evaluate_on import METRICS_FILE, EvaluationRequest, evaluate_on

    out = args.out or _OUT / args.benchmark
    check_place("--out", out / METRICS_FILE)
    request = EvaluationRequest(args.benchmark, args.folder, args.label_map, out, args.batch_size, args.strict)
    report = evaluate_on(request, partial(_load, args))
    _print_report(report)
    print(f"wrote {out}: metrics.json, predictions.jsonl, judged.jsonl")
    return 0


def _load(args: argparse.Namespace) -> "PinnedModel":
    from cac.registry.loading import package_identity
    from cac.registry.model_uri import default_model_uri
    from cac.registry.pinned import pin, pin_package

    if args.package is None:
        return pin(args.model or default_model_uri(args.params), args.device)
    # A resumed run must meet the same model, which a folder's path does not say.
    return replace(pin_package(args.package, args.device), source=package_identity(args.package))


def _print_report(report: "BenchmarkReport") -> None:
    from cac.cli.console import wide_console

    console = wide_console()
    console.print(_results_table(report))
    print(
        f"{report.benchmark}: {report.answered} of {report.questions} questions, {report.videos} videos, {report.model}"
    )
    _print_reasons("rows refused", report.refused_rows)
    _print_reasons("skipped, as by the benchmark itself", report.skipped)
    _print_reasons("videos that cannot be used", report.unusable_videos)
    _print_reasons("questions not measured", report.unanswered)
    _print_reasons("clips not measured for when and where", report.unlocated)


def _results_table(report: "BenchmarkReport") -> "Table":
    from cac.cli.console import make_table

    table = make_table("task", "subset", "questions", "metric", "value [95 % interval]")
    for result in report.results:
        # All metrics of a whole task; of its parts only the first.
        shown = list(result.metrics.items())[: None if result.subset is None else 1]
        for number, (name, interval) in enumerate(shown):
            head = ("", "", "") if number else (result.task, result.subset or "all", str(result.questions))
            table.add_row(*head, name.replace("_", " "), _text_of(interval))
    return table


def _text_of(interval: "Interval") -> str:
    from cac.cli.console import format_number

    if interval["value"] is None:
        return "–"
    return f"{format_number(interval['value'])} [{format_number(interval['low'])}, {format_number(interval['high'])}]"


def _print_reasons(what: str, reasons: Mapping[str, list[str]]) -> None:
    from cac.errors import printable

    if not reasons:
        return
    print(f"{what}: {sum(map(len, reasons.values()))}; metrics.json names them all")
    for reason, names in reasons.items():
        more = ", …" if len(names) > _SHOWN else ""
        print(f"  {len(names)} × {reason}: {', '.join(map(printable, names[:_SHOWN]))}{more}")
