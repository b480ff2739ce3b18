"""Artifacts of the pipeline's steps in Prefect: what people see of a run. No flow reads them."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from cac.cli.summary import REPORT_FILE, metric_rows
from cac.data.versions.diff import VersionDiff, count_changes, diff_versions
from cac.errors import CacError
from cac.io.git import read_git
from cac.params import Params
from cac.paths import DATA_DOCS, DATA_DVC, DATASET, EVALUATION_METRICS, VALIDATION_RESULT
from cac.registry.gate import Decision
from cac.registry.versions import BEST, CHAMPION
from flows.support.dvc_sharing import parse_data_md5

if TYPE_CHECKING:
    from cac.data.versions.diff import ListedClip
    from cac.registry.listing import VersionSummary

    References = dict[str, VersionSummary]  # by alias: the champion and the best version

_MOST_CLIPS = 20  # of a kind, by name


def show_validation(root: Path) -> None:
    """Show the dataset's summary and the failed checks, also if the checks block training."""
    if not (root / VALIDATION_RESULT).is_file():
        return  # interrupted, or there was no dataset
    result = json.loads((root / VALIDATION_RESULT).read_text(encoding="utf-8"))
    checks = result["checks"]
    failed = [
        {name: check[name] for name in ("check", "suite", "expected", "unexpected_count", "observed")}
        for check in checks
        if not check["passed"]
    ]
    create_table_artifact(failed, key="validation", description=f"Data checks that failed, of {len(checks)}")
    summary = _summary(result, len(failed))
    create_markdown_artifact(summary, key="validation-summary", description="Summary of the data validation")
    if (root / DATA_DOCS).is_file():
        create_link_artifact((root / DATA_DOCS).as_uri(), key="data-docs", link_text="Data Docs")


def _summary(result: dict[str, Any], failed: int) -> str:
    """Return a summary of the validated dataset with a table of its splits."""
    checks = result["checks"]
    blocking = sum(1 for check in checks if not check["passed"] and check["suite"] == "blocking")
    lines = [f"{len(checks) - failed} of {len(checks)} checks passed; {blocking} of the failed checks block training."]
    dataset = result.get("dataset", {})
    if dataset:
        lines += [
            f"{dataset['clips']} clips, {dataset['invalid_lines']} invalid lines.",
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
    """Show the gate's decision, check by check."""
    decision = Decision.from_dict(data)
    text = f"{decision.model_name} version {decision.version} {decision.outcome}.\n\n{decision.table()}"
    create_markdown_artifact(text, key="promotion", description="The gate's decision")


def show_versions(params: Params, challenger: "VersionSummary", references: "References") -> None:
    """Show the metrics of a registered version beside the champion's and the best's, and a link to the version."""
    beside = "the champion and the best" if BEST in references else "the champion"
    description = f"Version {challenger.version} beside {beside}, each on the test split it was measured on"
    create_table_artifact(_rows(challenger, references), key="champion-challenger", description=description)
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if server.startswith("http"):  # a server with web pages
        page = f"{server}/#/models/{params.registry.model_name}/versions/{challenger.version}"
        create_link_artifact(page, key="version", link_text="In MLflow")


def challenger_and_references(params: Params, challenger: str) -> "tuple[VersionSummary, References]":
    """Return a registered version, and the champion and the pinned best version by alias, where there are any."""
    from cac.registry.listing import list_versions

    versions = list_versions(params)
    new = next(one for one in versions if one.version == challenger)
    return new, {alias: one for alias in (CHAMPION, BEST) for one in versions if alias in one.aliases}


def _rows(new: "VersionSummary", references: "References") -> list[dict[str, str]]:
    columns = {"challenger": new, CHAMPION: references.get(CHAMPION)}
    columns |= {BEST: references[BEST]} if BEST in references else {}
    facts = {role: _facts(version) for role, version in columns.items()}
    return [
        {"": name, **{role: values.get(name, "–") for role, values in facts.items()}} for name in facts["challenger"]
    ]


def _facts(version: "VersionSummary | None") -> dict[str, str]:
    if version is None:
        return {"version": "none"}
    metrics = {name: _number(value) for name, value in version.metrics.items()}
    return {"version": version.version, **metrics, "data": version.data_md5[:8], "code": version.git_commit[:8]}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def show_dataset_diff(root: Path, lock: str | None, pointer: str, after: str, head: str = "HEAD") -> None:
    """Show how the dataset differs from the one of the last training.

    Args:
        root: the repository.
        lock: the text of the last training's dvc.lock; None if there is none.
        pointer: the text of the present data.dvc.
        after: the present version, as `read_version` takes it: a commit, or a folder.
        head: the commit whose history is searched for the earlier version.
    """
    trained_on = _locked_data_md5(lock)
    if trained_on == parse_data_md5(pointer):
        text = f"The data is that of the last training, `{trained_on}`."
    else:
        text = _describe_difference(root, trained_on, after, head)
    create_markdown_artifact(text, key="dataset-diff", description="What changed in the data since the last training")


def _locked_data_md5(lock: str | None) -> str | None:
    """Return the hash of the dataset in the text of a dvc.lock."""
    deps = (yaml.safe_load(lock) or {}).get("stages", {}).get("validate", {}).get("deps", []) if lock else []
    return next((dep["md5"] for dep in deps if dep["path"] == DATASET.as_posix()), None)


def _describe_difference(root: Path, trained_on: str | None, after: str, head: str) -> str:
    from cac.data.versions.revisions import read_version

    before = _find_commit(root, trained_on, head)
    if before is None:
        return "No earlier commit has the data of the last training."
    try:
        return _describe(diff_versions(*(read_version(name, root / DATASET) for name in (before, after))))
    except CacError as error:
        return f"The versions cannot be compared: {error}"


def _find_commit(root: Path, md5: str | None, head: str) -> str | None:
    """Return the newest commit up to `head` whose data.dvc names this data."""
    commits = read_git(root, "log", "--format=%H", head, "--", str(DATA_DVC)) or ""
    pointers = ((commit, read_git(root, "show", f"{commit}:{DATA_DVC}")) for commit in commits.split())
    return next((commit for commit, pointer in pointers if pointer and parse_data_md5(pointer) == md5), None)


def _describe(found: VersionDiff) -> str:
    changed = (*found.replaced, *found.relabelled)
    lines = [
        f"From {found.before} to {found.after}: {len(found.added)} added, {len(found.removed)} removed, "
        f"{len(found.replaced)} replaced, {len(found.relabelled)} relabelled, {found.unchanged} unchanged.",
        *_list_clips("added", found.added),
        *_list_clips("removed", found.removed),
        *(f"- {name}: changed in {count} clips" for name, count in count_changes(changed).items()),
    ]
    return "\n".join(lines)


def _list_clips(change: str, clips: tuple["ListedClip", ...]) -> list[str]:
    """Return one Markdown list item per clip, at most `_MOST_CLIPS`, and the number of the others."""
    shown = clips[:_MOST_CLIPS]
    lines = [f"- {change}: {one.clip_id} ({one.split}, {', '.join(one.leaves) or 'clean'})" for one in shown]
    return lines + ([f"- {change}: {len(clips) - _MOST_CLIPS} more"] if len(clips) > _MOST_CLIPS else [])
