"""The gate: whether a registered version becomes champion, and the moving of the aliases.

Metrics are read from the version's tags, so a decision needs no files but the registry. Every check is always made and
listed. A version that fails keeps its tags with the reasons and no alias moves. Left out: measuring anything (see
`evaluation/`), and choosing the candidate, which the caller names.
"""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cac.errors import CacError
from cac.params import Gate, Params
from cac.registry.fingerprint import UNKNOWN
from cac.registry.register import COMPLETE, GATE_METRICS, REGISTRATION_TAG, metric_tag
from cac.registry.tracking import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
PREVIOUS = "previous"


@dataclass(frozen=True)
class Check:
    """One bound and how the candidate stands to it; `value` is None where it could not be told."""

    name: str
    value: float | None
    bound: float
    passed: bool
    note: str


@dataclass(frozen=True)
class Decision:
    """What the gate decided.

    Attributes:
        model_name, version: the candidate.
        champion: the version that was champion before; None if there was none.
        passed: whether all checks passed, and so the candidate is champion now.
        checks: all checks, failed or not.
    """

    model_name: str
    version: str
    champion: str | None
    passed: bool
    checks: tuple[Check, ...]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Decision":
        """Read what `dataclasses.asdict` made of a decision, also after a JSON round trip."""
        return cls(**{**data, "checks": tuple(Check(**check) for check in data["checks"])})

    def table(self) -> str:
        """Return the checks as a Markdown table."""
        rows = [
            f"| {check.name} | {'–' if check.value is None else f'{check.value:.4f}'} | {check.bound:g} | "
            f"{'passed' if check.passed else 'FAILED'} | {check.note} |"
            for check in self.checks
        ]
        return "\n".join(["| check | value | bound | result | note |", "| --- | --- | --- | --- | --- |", *rows])


def promote(params: Params, version: str, champion_balanced_accuracy: float | None = None) -> Decision:
    """Put a version through the gate and make it champion if it passes; doing so again changes nothing.

    Args:
        params: the settings; the gate is `registry.gate`.
        version: the candidate, as `register` returned it.
        champion_balanced_accuracy: the present champion's, measured on the candidate's data. Needed only where the
            champion was registered with other data, as its own number cannot be compared then.

    Raises:
        CacError: there is no such version, or its registration is not complete.
    """
    client, name = connect(), params.registry.model_name
    candidate = _complete_version(client, name, version)
    champion = _champion(client, name)
    drop = _drop_check(candidate, champion, champion_balanced_accuracy, params.registry.gate)
    checks = (*_floor_checks(candidate, params.registry.gate), drop)
    passed = all(check.passed for check in checks)
    decision = Decision(name, str(version), str(champion.version) if champion else None, passed, checks)
    _record(client, decision)
    if passed:
        _move_aliases(client, decision)
    return decision


def _complete_version(client: "MlflowClient", name: str, version: str) -> "ModelVersion":
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_model_version(name, version)
    except MlflowException as error:
        raise CacError(f"no version {version} of {name} in {client.tracking_uri}. Run `cac register` first.") from error
    if found.tags.get(REGISTRATION_TAG) != COMPLETE:
        raise CacError(f"registration of {name} version {version} is not complete. Run `cac register` again.")
    return found


def _champion(client: "MlflowClient", name: str) -> "ModelVersion | None":
    version = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if version is None else client.get_model_version(name, version)


def _metric(version: "ModelVersion", metric: str) -> float:
    value = version.tags.get(metric_tag(metric))
    if value is None:
        raise CacError(f"{version.name} version {version.version} has no tag {metric_tag(metric)}. Register it anew.")
    return float(value)


def _floor_checks(candidate: "ModelVersion", gate: Gate) -> list[Check]:
    checks = []
    for metric in GATE_METRICS:
        value, bound = _metric(candidate, metric), getattr(gate, f"min_{metric}")
        checks.append(Check(metric, value, bound, value >= bound, "at least"))
    return checks


def _drop_check(
    candidate: "ModelVersion", champion: "ModelVersion | None", measured: float | None, gate: Gate
) -> Check:
    """Return how far balanced accuracy falls from the champion's to the candidate's; a gain is negative."""
    name, bound = "balanced_accuracy_drop", gate.max_balanced_accuracy_drop
    if champion is None:
        return Check(name, None, bound, True, "no champion yet")
    if measured is None and not _same_data(candidate, champion):
        note = (
            f"champion {champion.version} was measured on other data: measure it on this data and pass "
            f"champion_balanced_accuracy, or remove the alias {CHAMPION} to start anew"
        )
        return Check(name, None, bound, False, note)
    reference = _metric(champion, "balanced_accuracy") if measured is None else measured
    drop = reference - _metric(candidate, "balanced_accuracy")
    # Both numbers are ratios of small counts; without the slack a drop of exactly the bound fails on its last bit.
    return Check(name, drop, bound, drop <= bound + 1e-12, f"at most, against champion {champion.version}")


def _same_data(candidate: "ModelVersion", champion: "ModelVersion") -> bool:
    if candidate.version == champion.version:
        return True
    data = candidate.tags.get("data_md5", UNKNOWN)
    return data != UNKNOWN and data == champion.tags.get("data_md5", UNKNOWN)


def _record(client: "MlflowClient", decision: Decision) -> None:
    """Tag the candidate with the decision; done before any alias moves, as the two cannot be changed at once."""
    reasons = "; ".join(f"{c.name}: {c.value} ({c.note} {c.bound:g})" for c in decision.checks if not c.passed)
    tags = {
        "gate": "passed" if decision.passed else "failed",
        "gate_reasons": reasons or "none",
        "gate_checks": json.dumps([asdict(check) for check in decision.checks]),
    }
    for key, value in tags.items():
        client.set_model_version_tag(decision.model_name, decision.version, key, value)


def _move_aliases(client: "MlflowClient", decision: Decision) -> None:
    """Keep the old champion as `previous`, then name the new one; nothing to do if it is champion already."""
    if decision.champion == decision.version:
        return
    if decision.champion is not None:
        client.set_registered_model_alias(decision.model_name, PREVIOUS, decision.champion)
    client.set_registered_model_alias(decision.model_name, CHAMPION, decision.version)
