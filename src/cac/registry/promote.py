"""Promotion: the gate checks a registered version, which becomes champion if it passes.

The candidate is compared on the same clips, pair by pair, with the champion and with the pinned best version, so that
many small steps down cannot add up. The pin moves to a version that is better with confidence, and to no other: pinning
the highest measurement would pin luck. All tags and files of a decision are written before an alias moves
(`versions.py`). A version that is or was champion keeps the tags of the decision that made it champion. Out of scope:
choosing the candidate.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.params import Params
from cac.registry.comparison import compare, family_members
from cac.registry.gate import (
    GATE_METRICS,
    Check,
    Decision,
    Reference,
    bound_checks,
    comparison_checks,
    is_better,
    no_comparison_checks,
    rollback_check,
    veto_check,
)
from cac.registry.predictions import EVALUATION_SET_TAG, Predictions, load_predictions, run_id_of
from cac.registry.versions import (
    BEST,
    CHAMPION,
    FAILED,
    GATE_TAG,
    PASSED,
    ROLLED_BACK_TAG,
    VETO_TAG,
    best_history,
    champion_history,
    get_aliases,
    get_best,
    get_champion,
    get_complete_version,
    rollback_reason,
    set_best,
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
        remeasure_in: the project's root, to evaluate the champion and the best version first on the current test split.
            Needed if one of them was never evaluated on the candidate's clips.
        despite_rollback: allow a version that was rolled back.
        despite_veto: allow a version that was vetoed.

    Raises:
        CacError: there is no such version, its registration is not complete, or it cannot be compared.
    """
    client, name = connect(), params.registry.model_name
    candidate = get_complete_version(client, name, version)
    champion, best = get_champion(client, name), get_best(client, name)
    measured = _measured(client, candidate)
    if remeasure_in is not None:
        from cac.registry.remeasure import remeasure

        champion, best = remeasure(client, (champion, best), measured, params, remeasure_in)
    found = _compare(client, measured, {CHAMPION: champion, BEST: best}, params)
    checks = (
        *bound_checks(_values(candidate), params.registry.gate),
        *found.checks,
        rollback_check(rollback_reason(candidate), despite_rollback),
        veto_check(veto_reason(candidate), despite_veto),
    )
    passed = all(check.passed for check in checks)
    pinned = _number(best)
    is_best = pinned == str(version) or (passed and (best is None or found.is_better))
    decision = Decision(name, str(version), _number(champion), passed, checks, pinned, is_best)
    if decision.champion != decision.version:
        _apply(client, candidate, champion, best, decision)
    return decision


def _number(version: "ModelVersion | None") -> str | None:
    return None if version is None else str(version.version)


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


@dataclass(frozen=True)
class _Compared:
    """Checks against references, and whether the candidate is better than the last of them with confidence."""

    checks: list[Check]
    is_better: bool


def _compare(
    client: "MlflowClient", measured: Predictions, references: "dict[str, ModelVersion | None]", params: Params
) -> _Compared:
    """Compare the candidate with the champion and the best version; with one of them if both are the same version."""
    champion, best = references[CHAMPION], references[BEST]
    if champion is None or best is None:
        families, none, gate = family_members(measured.clips), Reference(CHAMPION, "none"), params.registry.gate
        return _Compared(no_comparison_checks(families, none, "no champion yet", passed=True, gate=gate), True)
    distinct = {CHAMPION: champion} if champion.version == best.version else {CHAMPION: champion, BEST: best}
    found = [_compare_with(client, measured, role, version, params) for role, version in distinct.items()]
    return _Compared([check for one in found for check in one.checks], found[-1].is_better)


def _compare_with(
    client: "MlflowClient", measured: Predictions, role: str, version: "ModelVersion", params: Params
) -> _Compared:
    gate, reference = params.registry.gate, Reference(role, str(version.version))
    rival = load_predictions(client, version, measured.evaluation_set)
    if rival is None:
        note = f"{reference} was evaluated on other clips: promote with --remeasure"
        families = family_members(measured.clips)
        return _Compared(no_comparison_checks(families, reference, note, passed=False, gate=gate), False)
    comparison = compare(measured, rival, params)
    return _Compared(comparison_checks(comparison, reference, gate), is_better(comparison))


def _apply(
    client: "MlflowClient",
    candidate: "ModelVersion",
    champion: "ModelVersion | None",
    best: "ModelVersion | None",
    decision: Decision,
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
    _pin(client, best, decision)
    set_champion(client, decision.model_name, decision.version, history)


def _pin(client: "MlflowClient", best: "ModelVersion | None", decision: Decision) -> None:
    """Pin the best version before the champion changes: in a store without a pin the old champion is the best."""
    name, version = decision.model_name, decision.version
    if best is None:
        set_best(client, name, version, ())
    elif decision.is_best and version != decision.best:
        set_best(client, name, version, (*best_history(best), str(best.version)))
    elif BEST not in get_aliases(client, name):
        set_best(client, name, str(best.version), ())


def _log_decision(client: "MlflowClient", candidate: "ModelVersion", decision: Decision) -> None:
    """Log the decision to the candidate's run, as JSON and as Markdown."""
    run_id = run_id_of(candidate)
    content = {**asdict(decision), "evaluation_set": candidate.tags[EVALUATION_SET_TAG]}
    client.log_text(run_id, json.dumps(content, indent=2, sort_keys=True) + "\n", "gate/decision.json")
    text = f"# {decision.model_name} version {decision.version} {decision.outcome}\n\n{decision.table()}\n"
    client.log_text(run_id, text, "gate/decision.md")


def _tag_decision(client: "MlflowClient", decision: Decision) -> None:
    tags = {
        "gate_checks": json.dumps([asdict(check) for check in decision.checks]),
        "gate_reasons": decision.reasons(),
        "gate_champion": decision.champion or "none",
        "gate_best": decision.best or "none",
        "gate_at": datetime.now(UTC).isoformat(timespec="seconds"),
        GATE_TAG: PASSED if decision.passed else FAILED,
    }
    for key, value in tags.items():
        client.set_model_version_tag(decision.model_name, decision.version, key, value)
