"""The gate: the checks of a candidate, and the decision as data and as a table.

Pure: numbers in, checks out. Every check is always made and listed, so a decision shows all failures at once. Out of
scope: where the numbers come from, and acting on the decision (`promote.py`).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from cac.evaluation.intervals import FAMILY_METRIC, Interval
from cac.evaluation.metrics import METRICS, SECONDS_PER_CLIP
from cac.params import Gate
from cac.registry.comparison import COMPARED, Comparison
from cac.registry.versions import CHAMPION

_METRICS = (
    *(METRICS[name] for name in ("balanced_accuracy", "specificity", "parse_rate", "expected_calibration_error")),
    SECONDS_PER_CLIP,
)
GATE_METRICS = {metric.name: metric for metric in _METRICS}  # what a candidate's own numbers are checked on
FLOORS = tuple(name for name, metric in GATE_METRICS.items() if metric.higher_is_better)
CEILINGS = tuple(name for name, metric in GATE_METRICS.items() if not metric.higher_is_better)
# Must also not be worse with confidence. Only this metric: each further test at 2.5 % would refuse more models that are
# as good as the champion.
TESTED = "balanced_accuracy"
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
class Reference:
    """A version that candidates are compared with: the champion, or the pinned best version."""

    role: str
    version: str

    def __str__(self) -> str:
        """Return it for notes, such as "champion 3"."""
        return f"{self.role} {self.version}"

    def difference(self, metric: str) -> str:
        """Return the name of the check of a metric's difference to this version."""
        return f"{metric}_difference" + ("" if self.role == CHAMPION else f"_to_{self.role}")


@dataclass(frozen=True)
class Decision:
    """What the gate decided.

    Attributes:
        model_name, version: the candidate.
        champion: the version that was champion before; None if there was none.
        passed: whether all checks passed, so that the candidate is now champion.
        checks: all checks, failed or not.
        best: the version that was pinned as the best before; None if there was none, or it was decided before pins.
        is_best: whether the candidate is now pinned as the best.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    model_name: str
    version: str
    champion: str | None
    passed: bool
    checks: tuple[Check, ...]
    best: str | None = None
    is_best: bool = False

    @property
    def outcome(self) -> str:
        """What became of the candidate, to follow its version in a sentence."""
        if not self.passed:
            return "is refused"
        return "is the champion, and the best so far" if self.is_best else "is the champion"

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


def comparison_checks(comparison: Comparison, reference: Reference, gate: Gate) -> list[Check]:
    """Check that the candidate is not worse than a reference on the same clips.

    A metric fails if its difference exceeds the bound. The metric TESTED also fails if the whole interval of the
    difference is below 0: then the candidate is worse with confidence, however little.
    """
    metrics = [_compared(name, comparison.metrics[name], reference, gate) for name in COMPARED]
    note, bound = f"difference to {reference}; at least", -gate.max_family_accuracy_drop
    families = [
        _at_least(_family_name(name, reference), value, bound, note) for name, value in comparison.families.items()
    ]
    return metrics + families


def no_comparison_checks(
    families: Iterable[str], reference: Reference, note: str, *, passed: bool, gate: Gate
) -> list[Check]:
    """Return the checks of `comparison_checks` for a candidate that cannot be compared."""
    metrics = [Check(reference.difference(name), None, _bound(name, gate), passed, note) for name in COMPARED]
    bound = -gate.max_family_accuracy_drop
    return metrics + [Check(_family_name(name, reference), None, bound, passed, note) for name in families]


def is_better(comparison: Comparison) -> bool:
    """Return whether the candidate's balanced accuracy is higher with confidence: the whole interval is above 0."""
    low = comparison.metrics["balanced_accuracy"]["low"]
    return low is not None and low > 0


def _compared(name: str, difference: Interval, reference: Reference, gate: Gate) -> Check:
    value, low, high = difference["value"], difference["low"], difference["high"]
    check, bound = reference.difference(name), _bound(name, gate)
    if value is None or low is None or high is None:
        return _undefined(check, name, bound)
    higher_is_better = METRICS[name].higher_is_better
    certain = name == TESTED and high < 0 and abs(bound) < 1  # a bound of 1 switches the comparison off
    note = f"difference to {reference}, 95 % interval [{low:+.3f}, {high:+.3f}]"
    note += ", worse with confidence; " if certain else "; "
    note += "at least" if higher_is_better else "at most"
    within = value >= bound - _SLACK if higher_is_better else value <= bound + _SLACK
    return Check(check, value, bound, within and not certain, note)


def _undefined(check: str, metric: str, bound: float) -> Check:
    """Return the check of an undefined metric; only twins may be missing, since clips need not be pairs."""
    if metric == "twin_accuracy":
        return Check(check, None, bound, True, "not compared: no anomalous clip of the test split has a clean twin")
    return Check(check, None, bound, False, "undefined: the test split lacks clean or anomalous clips")


def _bound(metric: str, gate: Gate) -> float:
    """Return the bound of a difference: negative for metrics where higher is better."""
    bound: float = getattr(gate.max_worsening, metric)
    return -bound if METRICS[metric].higher_is_better else bound


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


def _family_name(family: str, reference: Reference) -> str:
    return f"{reference.difference(FAMILY_METRIC)}.{family}"


def _at_least(name: str, value: float, bound: float, note: str) -> Check:
    return Check(name, value, bound, value >= bound - _SLACK, note)


def _at_most(name: str, value: float, bound: float, note: str) -> Check:
    return Check(name, value, bound, value <= bound + _SLACK, note)
