"""What `cac summary` prints: the metrics of the last evaluation, and the next steps."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cac.cli.console import format_number, make_table, wide_console
from cac.errors import CacError
from cac.paths import DECISION, EVALUATION_METRICS, EVALUATION_REPORT, TRAINING_STAGES

if TYPE_CHECKING:
    from rich.table import Table

    from cac.registry.gate import Decision

REPORT_FILE = EVALUATION_REPORT / "index.html"

MODELS = ("base", "base_guided", *TRAINING_STAGES, "majority", "frame_difference")
MAIN_METRICS = ("balanced_accuracy", "auroc", "temporal_iou", "spatial_iou", "family_accuracy", "parse_rate")


def print_summary(root: Path) -> None:
    """Print the metrics of every checkpoint and baseline on the test split with their intervals, and what to do next.

    Raises:
        CacError: there is no evaluation yet.
    """
    path = root / EVALUATION_METRICS
    if not path.is_file():
        raise CacError(f"no metrics at {path}. Run the pipeline first: `make run`, or `dvc repro`.")
    metrics, decision = _read_json(path), _last_decision(root)
    wide_console().print(_metrics_table(metrics["test"]))
    print(next_steps(decision))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CacError(f"{path} is not valid JSON: {error}. Make it again: `dvc repro`, or `cac promote`.") from error


def _metrics_table(metrics: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> "Table":
    from cac.evaluation.metrics import METRICS

    table = make_table("test split", *(METRICS[name].title for name in MAIN_METRICS))
    for row in metric_rows(metrics):
        table.add_row(*row.values())
    return table


def metric_rows(metrics: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> list[dict[str, str]]:
    """Return one split's metrics as rows of text: the model, then each main metric as value and 95 % interval.

    Models are in the pipeline's order, followed by the baselines. Models without metrics are skipped; an undefined
    metric is a dash.
    """
    from cac.evaluation.metrics import METRICS

    return [
        {"model": model} | {METRICS[name].title: _interval(metrics[model].get(name)) for name in MAIN_METRICS}
        for model in MODELS
        if model in metrics
    ]


def _last_decision(root: Path) -> "Decision | None":
    """Read the gate's last decision in this checkout; None if there is none."""
    from cac.registry.gate import Decision

    path = root / DECISION
    return Decision.from_dict(_read_json(path)) if path.is_file() else None


def next_steps(decision: "Decision | None") -> str:
    """Return what to do after a pipeline run; a refused model is not recommended as a reward."""
    lines = ["What next:", f"  read the report       {REPORT_FILE}", "  open the MLflow runs  make ui"]
    if decision is None:
        return "\n".join([*lines, "  register the model    cac register, then cac promote --version N"])
    version = f"models:/{decision.model_name}/{decision.version}"
    model, option = (
        (f"models:/{decision.model_name}@champion", "") if decision.passed else (version, f"--model {version} ")
    )
    if decision.champion is not None:
        best = f" and best version {decision.best}" if decision.best not in (None, decision.champion) else ""
        lines.append(f"  see the gate's checks  cac registry; compared with champion {decision.champion}{best}")
    if not decision.passed:
        lines.append(f"  The gate refused {version}: do not use it as a reward. To inspect it:")
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
    return f"{measure['value']:.2f} [{format_number(measure['low'])}, {format_number(measure['high'])}]"
