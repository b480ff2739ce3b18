"""How a dataset differs from an earlier version: ratios of families, durations, windows, box sizes.

Both are read one clip at a time and kept as counts. Numbers are counted in bins one per cent wide, so quantiles are
exact to half a per cent. The drift of a ratio is the difference of the two ratios of clips. The drift of numbers is the
two-sample Kolmogorov-Smirnov statistic on the bins: the largest gap between the two cumulative distributions. Both are
from 0 to 1 and say how large a part of the data has moved. Out of scope: whether that is too much (`checks.py`), and
which clips changed (`cac data diff`).
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from cac.errors import CacError
from cac.schema.annotations import Clip
from cac.schema.geometry import box_area
from cac.schema.taxonomy import Family

NUMBERS = ("duration", "window_seconds", "box_area")
MEASURES = ("clean", *(family.value for family in Family), *NUMBERS)

_BIN = math.log(1.01)
_NOTHING = -(10**9)  # the bin of zero and less: a box without area
_QUANTILES = {"p05": 0.05, "median": 0.5, "p95": 0.95}

Value = float | dict[str, float] | None


class Histogram:
    """Counts of numbers in bins one per cent wide."""

    def __init__(self) -> None:
        """Start empty."""
        self.bins: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """Count a number; numbers that are not finite are skipped."""
        if math.isfinite(value):
            self.bins[round(math.log(value) / _BIN) if value > 0 else _NOTHING] += 1

    def quantiles(self) -> dict[str, float] | None:
        """Return the 5th, 50th and 95th percentile; None if there is no number."""
        total = self.bins.total()
        if not total:
            return None
        return {name: self._at(share * total) for name, share in _QUANTILES.items()}

    def _at(self, rank: float) -> float:
        seen = 0
        for place in sorted(self.bins):
            seen += self.bins[place]
            if seen >= rank:
                break
        return 0.0 if place == _NOTHING else float(f"{math.exp(place * _BIN):.3g}")


def largest_gap(a: Histogram, b: Histogram) -> float | None:
    """Return the largest gap between the cumulative shares of two histograms, from 0 to 1; None if one is empty."""
    totals = a.bins.total(), b.bins.total()
    if not all(totals):
        return None
    below, gap = [0, 0], 0.0
    for place in sorted(a.bins.keys() | b.bins.keys()):
        below = [below[0] + a.bins[place], below[1] + b.bins[place]]
        gap = max(gap, abs(below[0] / totals[0] - below[1] / totals[1]))
    return gap


@dataclass
class DatasetProfile:
    """The distributions of a dataset; a clip counts once for each family it shows."""

    clips: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    histograms: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram() for name in NUMBERS})

    def add(self, clip: Clip) -> None:
        """Count a clip."""
        self.clips += 1
        self.counts.update({family.value for family in {a.family for a in clip.anomalies}} or {"clean"})
        self.histograms["duration"].add(clip.duration)
        for anomaly in clip.anomalies:
            if anomaly.window is not None:
                self.histograms["window_seconds"].add(anomaly.window[1] - anomaly.window[0])
            for box in anomaly.boxes:
                self.histograms["box_area"].add(box_area(box.box))


def profile_of(clips: Iterable[Clip]) -> DatasetProfile:
    """Return the distributions of these clips."""
    profile = DatasetProfile()
    for clip in clips:
        profile.add(clip)
    return profile


@dataclass(frozen=True)
class Reference:
    """The earlier version that drift is measured from, and its name."""

    name: str
    profile: DatasetProfile

    def __post_init__(self) -> None:
        """Refuse a version without clips.

        Raises:
            CacError: it has none.
        """
        if not self.profile.clips:
            raise CacError(f"the reference {self.name} has no clip. Name a version that has some.")


@dataclass(frozen=True)
class Drift:
    """One measure before and after: a ratio of the clips, or the quantiles of numbers.

    `drift` is from 0 to 1, and None where one of the versions has nothing to measure.
    """

    measure: str
    before: Value
    after: Value
    drift: float | None


def measure_drift(before: DatasetProfile, after: DatasetProfile) -> list[Drift]:
    """Return the drift of each of `MEASURES`; `after` may be empty."""
    return [_drift_of_numbers(name, before, after) if name in NUMBERS else _drift_of_ratio(name, before, after)
            for name in MEASURES]  # fmt: skip


def _drift_of_numbers(name: str, before: DatasetProfile, after: DatasetProfile) -> Drift:
    old, new = before.histograms[name], after.histograms[name]
    return Drift(name, old.quantiles(), new.quantiles(), _rounded(largest_gap(old, new)))


def _drift_of_ratio(name: str, before: DatasetProfile, after: DatasetProfile) -> Drift:
    old, new = (one.counts[name] / one.clips if one.clips else None for one in (before, after))
    change = None if old is None or new is None else abs(new - old)
    return Drift(name, _rounded(old), _rounded(new), _rounded(change))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
