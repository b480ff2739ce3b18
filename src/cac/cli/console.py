"""What the command line shows: errors, scores, what came of data, the gate's decision, versions, the last table.

Tables go to stdout as plain text a person can read in a log too. What is computed is computed elsewhere.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cac.errors import CacError
from cac.paths import DECISION, EVALUATION_METRICS, EVALUATION_REPORT, TRAINING_STAGES

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from cac.batch.score_files import Failed, Scored
    from cac.data.injection.leak_check import LeakResult
    from cac.data.injection.report import InjectionReport
    from cac.registry.gate import Decision
    from cac.registry.listing import VersionSummary
    from cac.registry.reproduction import HashComparison

REPORT_FILE = EVALUATION_REPORT / "index.html"

MODELS = ("base", "base_guided", *TRAINING_STAGES, "majority", "frame_difference")
MAIN_METRICS = ("balanced_accuracy", "auroc", "temporal_iou", "spatial_iou", "family_accuracy", "parse_rate")
_HASH = 16  # characters of a hash, which tell any two apart
_NARROWEST = 144  # the summary: a name and six metrics with their intervals, none cut


def print_error(message: str) -> None:
    """Print one red paragraph to stderr; a single line where stderr is no terminal."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text(f"error: {message}", style="red"), soft_wrap=True)


def write_json(path: Path, value: Any) -> None:
    """Write a dataclass or pydantic model as sorted JSON, always with the same bytes, and create its folder."""
    from pydantic import TypeAdapter

    content = TypeAdapter(type(value)).dump_python(value, by_alias=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    except OSError as error:
        raise CacError(f"cannot write {path}: {error.strerror}. Choose a writable folder.") from error


def print_scores(results: Sequence["Scored | Failed"], as_json: bool) -> None:
    """Print what was found in each video: a table, or one JSON object a line. What failed goes to stderr as well."""
    from cac.batch.score_files import Failed, Scored

    if as_json:
        for result in results:
            print(json.dumps(result.to_dict(), sort_keys=True))
    elif scored := [result for result in results if isinstance(result, Scored)]:
        _wide_console().print(_score_table(scored))
    for result in results:
        if isinstance(result, Failed):
            print_error(result.message)


def _score_table(scored: Sequence["Scored"]) -> "Table":
    table = _table("video", "score", "verdict", "windows", "family", "leaf")
    for one in scored:
        windows = ", ".join(f"{start:.1f}–{end:.1f} s" for start, end in one.windows)
        family, leaf = one.judgement.family, one.judgement.leaf
        verdict = one.judgement.verdict if one.judgement.parsed else "none (the answer broke the grammar)"
        table.add_row(str(one.path), f"{one.score:.3f}", verdict, windows or "–", family or "–", leaf or "–")
    return table


def print_decision(decision: "Decision") -> None:
    """Print every check of the gate, and what became of the candidate."""
    table = _table("check", "value", "", "bound", "passed")
    for check in decision.checks:
        passed = "yes" if check.passed else "NO"
        table.add_row(check.name, _number(check.value, 3), check.note, _number(check.bound, 3), passed)
    table.columns[2].no_wrap = False  # a person's words may stand in it
    _wide_console().print(table)
    outcome = "is the champion" if decision.passed else "is refused; the champion stays as it was"
    print(f"{decision.model_name} version {decision.version} {outcome}")


def print_versions(versions: Sequence["VersionSummary"], as_json: bool) -> None:
    """Print the registered versions: a table, or one JSON object a line."""
    if as_json:
        for version in versions:
            print(json.dumps(asdict(version), sort_keys=True))
    elif versions:
        _wide_console().print(_version_table(versions))
    else:
        print("no version is registered yet: run `cac register`")


def _version_table(versions: Sequence["VersionSummary"]) -> "Table":
    from cac.registry.gate import GATE_METRICS

    columns = [metric.column for metric in GATE_METRICS.values()]
    table = _table("version", "aliases", "gate", *columns, "code", "data")
    for one in versions:
        state = one.gate or ("–" if one.registration == "complete" else one.registration)
        gate = "rolled back" if one.rolled_back else state
        numbers = (_number(one.metrics[name]) for name in GATE_METRICS)
        code = one.git_commit[:8] + ("+" if one.git_dirty == "true" else "")  # + uncommitted changes
        table.add_row(one.version, ", ".join(one.aliases) or "–", gate, *numbers, code, one.data_md5[:8])
    return table


def print_reproduction(result: Sequence["HashComparison"]) -> None:
    """Print, stage by stage, the hash that is recorded, the new one, and whether they are the same."""
    table = _table("stage", "what", "recorded", "now", "same")
    for one in result:
        same = "yes" if one.same else "NO" if one.counts else "no, which need not matter"
        table.add_row(one.stage, one.what, one.recorded[:_HASH], one.now[:_HASH], same)
    _wide_console().print(table)


def print_injection(report: "InjectionReport") -> None:
    """Print what came of each file of an injection."""
    from cac.data.injection.report import report_rows

    table = _table("file", "status", "segments", "pairs", "refused", "remarks")
    table.columns[-1].no_wrap, table.columns[-1].overflow = False, "fold"
    for row in report_rows(report):
        table.add_row(*row)
    _wide_console().print(table)
    for note in report.notes:
        print(f"note: {note}")


def print_leaks(result: "LeakResult") -> None:
    """Print how well traces alone tell the twins apart, leaf by leaf and as a whole, and whether the bar is kept."""
    from cac.data.injection.leak_check import MAX_AUROC

    table = _table("leaf", "AUROC")
    for leaf, value in result.by_leaf.items():
        table.add_row(leaf, _number(value))
    _wide_console().print(table)
    print("most telling by themselves: " + ", ".join(f"{name} {value:.2f}" for name, value in result.telling.items()))
    outcome = "is kept" if result.passed else "is MISSED: traces give the defects away"
    print(f"AUROC {result.auroc:.3f} [{result.low:.3f}, {result.high:.3f}], {result.classifier}, {result.pairs} pairs")
    print(f"the bar of {MAX_AUROC} {outcome}")


def print_summary(root: Path) -> None:
    """Print the metrics of every checkpoint and baseline on the test split with their intervals, and what to do next.

    Raises:
        CacError: nothing was evaluated yet.
    """
    path = root / EVALUATION_METRICS
    if not path.is_file():
        raise CacError(f"no metrics at {path}. Run the pipeline first: `make run`, or `dvc repro`.")
    _wide_console().print(_metrics_table(json.loads(path.read_text(encoding="utf-8"))["test"]))
    print(next_steps(_last_decision(root)))


def _metrics_table(metrics: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> "Table":
    from cac.evaluation.metrics import METRICS

    table = _table("test split", *(METRICS[name].title for name in MAIN_METRICS))
    for row in metric_rows(metrics):
        table.add_row(*row.values())
    return table


def metric_rows(metrics: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> list[dict[str, str]]:
    """Return one split's metrics as rows of text: the model, then each main metric as value and 95 % interval.

    Models stand in the pipeline's order, then the baselines; one that was not measured is left out, and a metric that
    is undefined is shown as a dash.
    """
    from cac.evaluation.metrics import METRICS

    return [
        {"model": model} | {METRICS[name].title: _interval(metrics[model].get(name)) for name in MAIN_METRICS}
        for model in MODELS
        if model in metrics
    ]


def _last_decision(root: Path) -> "Decision | None":
    """Read what the gate last decided in this checkout; None if it was not asked."""
    from cac.registry.gate import Decision

    path = root / DECISION
    return Decision.from_dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def next_steps(decision: "Decision | None") -> str:
    """Return what a person can do once the pipeline has run; a model that the gate refused is named as such."""
    lines = ["What next:", f"  look at the report    {REPORT_FILE}", "  look at the runs      make ui"]
    if decision is None:
        return "\n".join([*lines, "  register the model    cac register, then cac promote --version N"])
    version = f"models:/{decision.model_name}/{decision.version}"
    model, option = (
        (f"models:/{decision.model_name}@champion", "") if decision.passed else (version, f"--model {version} ")
    )
    if not decision.passed:
        lines.append(f"  The gate refused {version}: do not use it as a reward. To look into it:")
    return "\n".join(
        [
            *lines,
            f"  score a video         cac score {option}VIDEO.mp4 --overlay seen.mp4",
            '  load the model        mlflow.set_tracking_uri("sqlite:///.mlflow/mlflow.db")',
            f'                        mlflow.pyfunc.load_model("{model}").predict([VIDEO])',
        ]
    )


def _interval(measure: Mapping[str, float | None] | None) -> str:
    if measure is None or measure["value"] is None:
        return "–"
    return f"{measure['value']:.2f} [{_number(measure['low'])}, {_number(measure['high'])}]"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _table(first: str, *others: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(first, *others, box=box.SIMPLE_HEAD)
    table.columns[0].overflow = "fold"  # a long path takes several lines rather than the other columns' room
    for column in table.columns[1:]:
        column.no_wrap = True
    return table


def _wide_console() -> "Console":
    """Return a console for tables; what stands in them, file names and people's words, is shown as it is."""
    from rich.console import Console

    console = Console()
    return Console(width=max(console.width, _NARROWEST), markup=False, emoji=False)
