"""What the steps of the pipeline show in Prefect, whichever flow runs them. All of it is for people."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from cac.cli.summary import REPORT_FILE, metric_rows
from cac.params import Params
from cac.paths import DATA_DOCS, EVALUATION_METRICS, VALIDATION_RESULT
from cac.registry.gate import Decision
from cac.registry.versions import CHAMPION

if TYPE_CHECKING:
    from cac.registry.listing import VersionSummary


def show_validation(root: Path) -> None:
    """Show what the dataset holds and which checks failed: also, and above all, if the data was refused."""
    if not (root / VALIDATION_RESULT).is_file():
        return  # interrupted, or no dataset to check
    result = json.loads((root / VALIDATION_RESULT).read_text(encoding="utf-8"))
    checks = result["checks"]
    failed = [
        {name: check[name] for name in ("check", "suite", "expected", "unexpected_count", "observed")}
        for check in checks
        if not check["passed"]
    ]
    create_table_artifact(failed, key="validation", description=f"Data checks that failed, of {len(checks)}")
    summary = _summary(result, len(failed))
    create_markdown_artifact(summary, key="validation-summary", description="What was validated, and the outcome")
    if (root / DATA_DOCS).is_file():
        create_link_artifact((root / DATA_DOCS).as_uri(), key="data-docs", link_text="Data Docs")


def _summary(result: dict[str, Any], failed: int) -> str:
    """Return the validated dataset in words and a table of its splits."""
    checks = result["checks"]
    blocking = sum(1 for check in checks if not check["passed"] and check["suite"] == "blocking")
    lines = [f"{len(checks) - failed} of {len(checks)} checks passed; {blocking} that failed block training."]
    dataset = result.get("dataset", {})
    if dataset:
        lines += [
            f"{dataset['clips']} clips, {dataset['invalid_lines']} lines that are none.",
            _splits(dataset["splits"]),
        ]
    drift = result.get("drift", {})
    if drift.get("reference"):
        far = max((one["drift"] for one in drift["measures"] if one["drift"] is not None), default=0.0)
        lines.append(f"Largest drift since {drift['reference']}: {far:.3f}.")
    return "\n\n".join(lines)


def _splits(splits: dict[str, dict[str, int]]) -> str:
    rows = [f"| {name} | {of['clips']} | {of['clean']} | {of['anomalous']} |" for name, of in splits.items()]
    return "\n".join(["| split | clips | clean | anomalous |", "| --- | --- | --- | --- |", *rows])


def show_evaluation(root: Path) -> None:
    """Show the metrics of each split, with a link to the report."""
    metrics = json.loads((root / EVALUATION_METRICS).read_text(encoding="utf-8"))
    for split, models in metrics.items():
        create_table_artifact(
            metric_rows(models),
            key=f"metrics-{split.replace('_', '-')}",  # Prefect allows no underscore in a key
            description=f"Metrics on {split}, 95 % intervals",
        )
    create_link_artifact((root / REPORT_FILE).as_uri(), key="report", link_text="Evaluation report")


def show_decision(data: dict[str, Any]) -> None:
    """Show what the gate decided, check by check."""
    decision = Decision.from_dict(data)
    outcome = "is the champion" if decision.passed else "is refused"
    text = f"{decision.model_name} version {decision.version} {outcome}.\n\n{decision.table()}"
    create_markdown_artifact(text, key="promotion", description="The gate's decision")


def show_versions(params: Params, challenger: "VersionSummary", champion: "VersionSummary | None") -> None:
    """Show the numbers of a registered version beside the champion's, and a link to it."""
    description = f"Version {challenger.version} beside the champion, each on the test split it was measured on"
    create_table_artifact(_rows(challenger, champion), key="champion-challenger", description=description)
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if server.startswith("http"):  # a server that has pages
        page = f"{server}/#/models/{params.registry.model_name}/versions/{challenger.version}"
        create_link_artifact(page, key="version", link_text="In MLflow")


def rivals(params: Params, challenger: str) -> "tuple[VersionSummary, VersionSummary | None]":
    """Return a registered version and the champion, which may be the same one, or none."""
    from cac.registry.listing import list_versions

    versions = list_versions(params)
    new = next(one for one in versions if one.version == challenger)
    return new, next((one for one in versions if CHAMPION in one.aliases), None)


def _rows(new: "VersionSummary", old: "VersionSummary | None") -> list[dict[str, str]]:
    facts = [("version", new.version, old.version if old else "none")]
    for name, value in new.metrics.items():
        facts.append((name, _number(value), _number(old.metrics[name] if old else None)))
    facts += [("data", new.data_md5[:8], old.data_md5[:8] if old else "–")]
    facts += [("code", new.git_commit[:8], old.git_commit[:8] if old else "–")]
    return [{"": name, "challenger": challenger, "champion": champion} for name, challenger, champion in facts]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
