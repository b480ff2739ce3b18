"""The gate: the checks of a candidate, and the decision as data and as a table.

Pure: numbers in, checks out. Every check is always made and listed, so a decision shows all failures at once. Out of
scope: where the numbers come from, and acting on the decision (`promote.py`).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from cac.evaluation.intervals import FAMILY_METRIC
from cac.evaluation.metrics import METRICS, SECONDS_PER_CLIP
from cac.params import Gate

if TYPE_CHECKING:
    from cac.registry.comparison import Comparison

_METRICS = (
    *(METRICS[name] for name in ("balanced_accuracy", "specificity", "parse_rate", "expected_calibration_error")),
    SECONDS_PER_CLIP,
)
GATE_METRICS = {metric.name: metric for metric in _METRICS}  # what a candidate's own numbers are checked on
FLOORS = tuple(name for name, metric in GATE_METRICS.items() if metric.higher_is_better)
CEILINGS = tuple(name for name, metric in GATE_METRICS.items() if not metric.higher_is_better)
DIFFERENCE = "balanced_accuracy_difference"
ROLLED_BACK = "rolled_back"
VETOED = "vetoed"

# Values are ratios of small counts: rounding of the last bit must not fail a value that equals its bound.
_SLACK = 1e-9


@dataclass(frozen=True)
class Check:
    """One bound and whether the candidate meets it; `value` is None where it is not known."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

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
        passed: whether all checks passed, so that the candidate is now champion.
        checks: all checks, failed or not.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    model_name: str
    version: str
    champion: str | None
    passed: bool
    checks: tuple[Check, ...]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Decision":
        """Read a decision from the content of its JSON file.

        Raises:
            ValidationError: a field is missing, unknown or of another type.
        """
        return TypeAdapter(cls).validate_json(json.dumps(data))

    def table(self) -> str:
        """Return the checks as a Markdown table."""
        rows = [
            f"| {check.name} | {'–' if check.value is None else f'{check.value:.4f}'} | {check.bound:g} | "
            f"{'passed' if check.passed else 'FAILED'} | {check.note} |"
            for check in self.checks
        ]
        return "\n".join(["| check | value | bound | result | note |", "| --- | --- | --- | --- | --- |", *rows])

    def reasons(self) -> str:
        """Return the failed checks as one line; "none" if there is none."""
        return "; ".join(f"{c.name}: {c.value} ({c.note}, {c.bound:g})" for c in self.checks if not c.passed) or "none"


def bound_checks(values: Mapping[str, float], gate: Gate) -> list[Check]:
    """Check the candidate's own numbers, {name: value} for all GATE_METRICS."""
    floors = [_at_least(name, values[name], getattr(gate, f"min_{name}"), "at least") for name in FLOORS]
    ceilings = [_at_most(name, values[name], getattr(gate, f"max_{name}"), "at most") for name in CEILINGS]
    return floors + ceilings


def comparison_checks(comparison: "Comparison", champion: str, gate: Gate) -> list[Check]:
    """Check that the candidate is not worse than the champion on the same clips by more than allowed."""
    measure = comparison.balanced_accuracy
    value, low = measure["value"], measure["low"]
    if value is None or low is None:
        undefined = "undefined: the test split lacks clean or anomalous clips"
        return [*no_comparison_checks(comparison.families, undefined, passed=False, gate=gate)]
    note = f"lower end of the interval of the difference to champion {champion}, {value:+.4f}; at least"
    lower_end = _at_least(DIFFERENCE, low, -gate.max_balanced_accuracy_drop, note)
    note, bound = f"difference to champion {champion}; at least", -gate.max_family_accuracy_drop
    families = [_at_least(_family_name(name), value, bound, note) for name, value in comparison.families.items()]
    return [lower_end, *families]


def no_comparison_checks(families: Iterable[str], note: str, *, passed: bool, gate: Gate) -> list[Check]:
    """Return the checks of `comparison_checks` for a candidate that cannot be compared."""
    difference = Check(DIFFERENCE, None, -gate.max_balanced_accuracy_drop, passed, note)
    bound = -gate.max_family_accuracy_drop
    return [difference, *(Check(_family_name(name), None, bound, passed, note) for name in families)]


def rollback_check(reason: str | None, allowed: bool) -> Check:
    """Check that the candidate was not rolled back; `reason` is that of the rollback, `allowed` lets it pass."""
    return _override_check(ROLLED_BACK, reason, "--despite-rollback", allowed)


def veto_check(reason: str | None, allowed: bool) -> Check:
    """Check that the candidate was not vetoed; `reason` is that of the veto, `allowed` lets it pass."""
    return _override_check(VETOED, reason, "--despite-veto", allowed)


def _override_check(name: str, reason: str | None, option: str, allowed: bool) -> Check:
    if reason is None:
        return Check(name, 0.0, 0.0, True, "at most")
    note = f"allowed by {option}" if allowed else f"`cac promote {option}` allows it"
    return Check(name, 1.0, 0.0, allowed, f"{reason!r}; {note}")


def _family_name(family: str) -> str:
    return f"{FAMILY_METRIC}_difference.{family}"


def _at_least(name: str, value: float, bound: float, note: str) -> Check:
    return Check(name, value, bound, value >= bound - _SLACK, note)


def _at_most(name: str, value: float, bound: float, note: str) -> Check:
    return Check(name, value, bound, value <= bound + _SLACK, note)
