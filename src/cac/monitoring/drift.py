"""Whether recent clips differ from the reference: an effect size and its significance for each measure.

Numbers are compared by the two-sample Kolmogorov-Smirnov test; the distance is its statistic, the largest gap between
the two cumulative distributions. Counts (verdict, family, kind of answer) are compared by the chi-squared test; the
distance is the total variation distance of their shares. Both distances lie in [0, 1]. A measure drifted if its
distance exceeds `max_drift` and its p-value is below `significance` divided by the number of measures (Bonferroni). The
tests assume independent clips; twins and cuts of one video are not quite independent, which is why the distance must be
large as well.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from pydantic import BaseModel, ConfigDict, Field

from cac.monitoring.clips import ScoredClip
from cac.params import Monitoring
from cac.schema.taxonomy import Family

NUMBERS: Mapping[str, Callable[[Sequence[ScoredClip]], list[float]]] = {
    "score": lambda clips: [clip.score for clip in clips if clip.score is not None],
    "window_seconds": lambda clips: [length for clip in clips for length in clip.window_seconds],
    "duration": lambda clips: [clip.duration for clip in clips if clip.duration is not None],
    "motion": lambda clips: [clip.motion for clip in clips if clip.motion is not None],
}
COUNTS: Mapping[str, Callable[[Sequence[ScoredClip]], Counter[str]]] = {
    "flagged": lambda clips: Counter("flagged" if clip.flagged else "clean" for clip in _answered(clips)),
    "family": lambda clips: Counter(clip.family for clip in clips if clip.flagged and clip.family),
    "answers": lambda clips: Counter(_answer(clip) for clip in clips),
}
CATEGORIES = {
    "flagged": ("flagged", "clean"),
    "family": tuple(family.value for family in Family),
    "answers": ("parsed", "broke the grammar", "unreadable"),
}
_MIN_VALUES = 20  # of a measure, on either side


class DriftResult(BaseModel):
    """The drift of one measure. In JSON, `distance` is "part".

    Attributes:
        measure: its name.
        before, after: the median of numbers; the shares of counts, {category: share}; None without values.
        values_before, values_after: the number of values.
        distance: between the two distributions, in [0, 1]; None if there are too few values.
        p_value: of the test; None if there are too few values.
        drifted: whether it counts as drift.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    measure: str
    before: float | dict[str, float] | None
    after: float | dict[str, float] | None
    values_before: int
    values_after: int
    distance: float | None = Field(validation_alias="part", serialization_alias="part")
    p_value: float | None
    drifted: bool


def _answered(clips: Sequence[ScoredClip]) -> list[ScoredClip]:
    return [clip for clip in clips if clip.score is not None]


def _answer(clip: ScoredClip) -> str:
    if clip.score is None:
        return "unreadable"
    return "parsed" if clip.parsed else "broke the grammar"


def compare(reference: Sequence[ScoredClip], recent: Sequence[ScoredClip], settings: Monitoring) -> list[DriftResult]:
    """Compare each measure of the recent clips with the reference."""
    numbers = [_compare_numbers(name, values(reference), values(recent), settings) for name, values in NUMBERS.items()]
    counts = [_compare_counts(name, count(reference), count(recent), settings) for name, count in COUNTS.items()]
    return [*numbers, *counts]


def _compare_numbers(name: str, old: list[float], new: list[float], settings: Monitoring) -> DriftResult:
    before, after = (median(values) if values else None for values in (old, new))
    distance = p_value = None
    if min(len(old), len(new)) >= _MIN_VALUES:
        from scipy.stats import ks_2samp

        test = ks_2samp(old, new)
        distance, p_value = float(test.statistic), float(test.pvalue)
    return DriftResult(
        measure=name,
        before=before,
        after=after,
        values_before=len(old),
        values_after=len(new),
        distance=distance,
        p_value=p_value,
        drifted=_is_drift(distance, p_value, settings),
    )


def _compare_counts(name: str, old: Counter[str], new: Counter[str], settings: Monitoring) -> DriftResult:
    before, after = _shares(name, old), _shares(name, new)
    distance = p_value = None
    if before is not None and after is not None and min(old.total(), new.total()) >= _MIN_VALUES:
        distance = sum(abs(before[category] - after[category]) for category in before) / 2
        p_value = _chi_squared(old, new)
    return DriftResult(
        measure=name,
        before=before,
        after=after,
        values_before=old.total(),
        values_after=new.total(),
        distance=distance,
        p_value=p_value,
        drifted=_is_drift(distance, p_value, settings),
    )


def _is_drift(distance: float | None, p_value: float | None, settings: Monitoring) -> bool:
    if distance is None or p_value is None:
        return False
    level = settings.significance / (len(NUMBERS) + len(COUNTS))
    return distance > settings.max_drift and p_value < level


def _shares(name: str, counts: Counter[str]) -> dict[str, float] | None:
    total = counts.total()
    return {category: counts[category] / total for category in CATEGORIES[name]} if total else None


def _chi_squared(old: Counter[str], new: Counter[str]) -> float:
    """Return the p-value; 1 if all clips of both sides are in one category."""
    from scipy.stats import chi2_contingency

    occurring = sorted(old.keys() | new.keys())
    if len(occurring) < 2:
        return 1.0
    return float(chi2_contingency([[counts[category] for category in occurring] for counts in (old, new)]).pvalue)
