"""Promotion: the gate checks a registered version, which becomes champion if it passes.

The candidate is compared with the champion on the same clips, pair by pair. All tags and files of a decision are
written before an alias moves (`versions.py`). A version that is or was champion keeps the tags of the decision that
made it champion. Out of scope: choosing the candidate.
"""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.params import Params
from cac.registry.comparison import compare, family_accuracies
from cac.registry.gate import (
    GATE_METRICS,
    Check,
    Decision,
    bound_checks,
    comparison_checks,
    no_comparison_checks,
    rollback_check,
    veto_check,
)
from cac.registry.predictions import EVALUATION_SET_TAG, Predictions, load_predictions, run_id_of
from cac.registry.versions import (
    FAILED,
    GATE_TAG,
    PASSED,
    ROLLED_BACK_TAG,
    VETO_TAG,
    champion_history,
    get_champion,
    get_complete_version,
    rollback_reason,
    set_champion,
    value_tag,
    veto_reason,
)
from cac.tracking.mlflow_runs import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def promote(
    params: Params,
    version: str,
    *,
    remeasure_in: Path | None = None,
    despite_rollback: bool = False,
    despite_veto: bool = False,
) -> Decision:
    """Make a version champion if it passes the gate; promoting the champion again changes nothing.

    Args:
        params: the settings; the gate is `registry.gate`.
        version: the candidate, as `register` returned it.
        remeasure_in: the project's root, to evaluate the champion first on the current test split. Needed if the
            champion was never evaluated on the candidate's clips.
        despite_rollback: allow a version that was rolled back.
        despite_veto: allow a version that was vetoed.

    Raises:
        CacError: there is no such version, its registration is not complete, or it cannot be compared.
    """
    client, name = connect(), params.registry.model_name
    candidate, champion = get_complete_version(client, name, version), get_champion(client, name)
    measured = _measured(client, candidate)
    if champion is not None and remeasure_in is not None:
        from cac.registry.remeasure import remeasure_champion

        champion = remeasure_champion(client, champion, measured, params, remeasure_in)
    checks = (
        *bound_checks(_values(candidate), params.registry.gate),
        *_comparison(client, measured, champion, params),
        rollback_check(rollback_reason(candidate), despite_rollback),
        veto_check(veto_reason(candidate), despite_veto),
    )
    passed = all(check.passed for check in checks)
    decision = Decision(name, str(version), str(champion.version) if champion else None, passed, checks)
    if decision.champion != decision.version:
        _apply(client, candidate, champion, decision)
    return decision


def _measured(client: "MlflowClient", candidate: "ModelVersion") -> Predictions:
    measured = load_predictions(client, candidate, _tag(candidate, EVALUATION_SET_TAG))
    if measured is None:
        raise CacError(f"{candidate.name} version {candidate.version} has no test answers. Run `cac register` again.")
    return measured


def _tag(version: "ModelVersion", tag: str) -> str:
    value = version.tags.get(tag)
    if value is None:
        raise CacError(f"{version.name} version {version.version} has no tag {tag}. Run `cac register` again.")
    return value


def _values(candidate: "ModelVersion") -> dict[str, float]:
    """Return the candidate's metrics from its tags."""
    return {name: float(_tag(candidate, value_tag(name))) for name in GATE_METRICS}


def _comparison(
    client: "MlflowClient", measured: Predictions, champion: "ModelVersion | None", params: Params
) -> list[Check]:
    gate = params.registry.gate
    if champion is None:
        return no_comparison_checks(family_accuracies(measured), "no champion yet", passed=True, gate=gate)
    rival = load_predictions(client, champion, measured.evaluation_set)
    if rival is None:
        note = f"champion {champion.version} was evaluated on other clips: promote with --remeasure-champion"
        return no_comparison_checks(family_accuracies(measured), note, passed=False, gate=gate)
    return comparison_checks(compare(measured, rival, params), str(champion.version), gate)


def _apply(
    client: "MlflowClient", candidate: "ModelVersion", champion: "ModelVersion | None", decision: Decision
) -> None:
    history = (*champion_history(client, champion), str(champion.version)) if champion else ()
    _log_decision(client, candidate, decision)
    if decision.passed or decision.version not in history:
        _tag_decision(client, decision)
    if not decision.passed:
        return
    for tag in (ROLLED_BACK_TAG, VETO_TAG):
        if tag in candidate.tags:
            client.delete_model_version_tag(decision.model_name, decision.version, tag)
    set_champion(client, decision.model_name, decision.version, history)


def _log_decision(client: "MlflowClient", candidate: "ModelVersion", decision: Decision) -> None:
    """Log the decision to the candidate's run, as JSON and as Markdown."""
    run_id = run_id_of(candidate)
    content = {**asdict(decision), "evaluation_set": candidate.tags[EVALUATION_SET_TAG]}
    client.log_text(run_id, json.dumps(content, indent=2, sort_keys=True) + "\n", "gate/decision.json")
    outcome = "passed the gate" if decision.passed else "is refused"
    text = f"# {decision.model_name} version {decision.version} {outcome}\n\n{decision.table()}\n"
    client.log_text(run_id, text, "gate/decision.md")


def _tag_decision(client: "MlflowClient", decision: Decision) -> None:
    tags = {
        "gate_checks": json.dumps([asdict(check) for check in decision.checks]),
        "gate_reasons": decision.reasons(),
        "gate_champion": decision.champion or "none",
        "gate_at": datetime.now(UTC).isoformat(timespec="seconds"),
        GATE_TAG: PASSED if decision.passed else FAILED,
    }
    for key, value in tags.items():
        client.set_model_version_tag(decision.model_name, decision.version, key, value)
