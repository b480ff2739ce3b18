"""Whether recent clips are unlike those of the reference: a statistic and its significance, measure by measure.

Numbers are compared by the two-sample Kolmogorov-Smirnov test, the largest gap between the two cumulative shares.
Counts (flagged or not, which family, whether there was an answer) by the chi-squared test, and how far they moved by
half the sum of the differences of their shares. Both say how large a part of the clips is elsewhere than before, from 0
to 1. A measure drifted if that part is larger than `max_drift` and chance seldom does as much: over all measures
together in a share of `significance` of the windows (Bonferroni). The tests take clips to be independent; twins and
cuts of one video are not quite, which the bound on the part makes up for.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from cac.monitoring.clips import Seen
from cac.params import Monitoring
from cac.schema.taxonomy import Family

NUMBERS: Mapping[str, Callable[[Sequence[Seen]], list[float]]] = {
    "score": lambda clips: [clip.score for clip in clips if clip.score is not None],
    "window_seconds": lambda clips: [length for clip in clips for length in clip.window_seconds],
    "duration": lambda clips: [clip.duration for clip in clips if clip.duration is not None],
    "motion": lambda clips: [clip.motion for clip in clips if clip.motion is not None],
}
COUNTS: Mapping[str, Callable[[Sequence[Seen]], Counter[str]]] = {
    "flagged": lambda clips: Counter("flagged" if clip.flagged else "clean" for clip in _answered(clips)),
    "family": lambda clips: Counter(clip.family for clip in clips if clip.flagged and clip.family),
    "answers": lambda clips: Counter(_answer(clip) for clip in clips),
}
CATEGORIES = {
    "flagged": ("flagged", "clean"),
    "family": tuple(family.value for family in Family),
    "answers": ("parsed", "broke the grammar", "unreadable"),
}
_FEWEST = 20  # values of a measure on either side


@dataclass(frozen=True)
class Moved:
    """How far one measure moved.

    Attributes:
        measure: its name.
        before, after: the median of numbers; the shares of counts, {category: share}; None of nothing.
        values_before, values_after: how many there were.
        part: how large a part is elsewhere, from 0 to 1; None where there are too few values to tell.
        p_value: how often chance alone does as much; None likewise.
        drifted: whether it counts as drift.
    """

    measure: str
    before: float | dict[str, float] | None
    after: float | dict[str, float] | None
    values_before: int
    values_after: int
    part: float | None
    p_value: float | None
    drifted: bool

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Moved":
        """Read what `dataclasses.asdict` made, also after a JSON round trip."""
        return cls(**data)


def _answered(clips: Sequence[Seen]) -> list[Seen]:
    return [clip for clip in clips if clip.score is not None]


def _answer(clip: Seen) -> str:
    if clip.score is None:
        return "unreadable"
    return "parsed" if clip.parsed else "broke the grammar"


def compare(reference: Sequence[Seen], recent: Sequence[Seen], settings: Monitoring) -> list[Moved]:
    """Return how far each measure moved from the reference to the recent clips."""
    level = settings.significance / (len(NUMBERS) + len(COUNTS))
    numbers = [
        _numbers(name, take(reference), take(recent), settings.max_drift, level) for name, take in NUMBERS.items()
    ]
    counts = [_counts(name, take(reference), take(recent), settings.max_drift, level) for name, take in COUNTS.items()]
    return [*numbers, *counts]


def _numbers(name: str, old: list[float], new: list[float], most: float, level: float) -> Moved:
    before, after = (median(values) if values else None for values in (old, new))
    if min(len(old), len(new)) < _FEWEST:
        return Moved(name, before, after, len(old), len(new), None, None, False)
    from scipy.stats import ks_2samp

    found = ks_2samp(old, new)
    part, p_value = float(found.statistic), float(found.pvalue)
    return Moved(name, before, after, len(old), len(new), part, p_value, part > most and p_value < level)


def _counts(name: str, old: Counter[str], new: Counter[str], most: float, level: float) -> Moved:
    before, after = _shares(name, old), _shares(name, new)
    if before is None or after is None or min(old.total(), new.total()) < _FEWEST:
        return Moved(name, before, after, old.total(), new.total(), None, None, False)
    part = sum(abs(before[category] - after[category]) for category in before) / 2
    p_value = _chi_squared(old, new)
    return Moved(name, before, after, old.total(), new.total(), part, p_value, part > most and p_value < level)


def _shares(name: str, counts: Counter[str]) -> dict[str, float] | None:
    total = counts.total()
    return {category: counts[category] / total for category in CATEGORIES[name]} if total else None


def _chi_squared(old: Counter[str], new: Counter[str]) -> float:
    """Return the p-value; 1 where all clips are of one category before and after."""
    from scipy.stats import chi2_contingency

    there = sorted(old.keys() | new.keys())
    if len(there) < 2:
        return 1.0
    return float(chi2_contingency([[counts[category] for category in there] for counts in (old, new)]).pvalue)
