"""`cac data stats`: count a dataset.

Only the manifest is read, not the videos. A clip counts once for each family and leaf it shows. Out of scope: whether
the numbers are good (`cac data validate`), and drawing them (`stats_report.py`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from cac.schema.annotations import Clip, Split
from cac.schema.geometry import box_area
from cac.schema.linked_clips import group_clips
from cac.schema.taxonomy import LEAVES, Family

STATS_NAME = "stats.json"
PICTURE_NAME = "stats.png"
QUANTILES = {"p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95}

Counts = dict[str, dict[str, int]]  # name → split → clips


@dataclass(frozen=True)
class Stats:
    """A dataset in numbers.

    Attributes:
        clips, groups: how many; groups are what splits are made of.
        splits: {split: {"clean", "anomalous"}}, all splits.
        families, leaves, generators, sources: {name: {split: clips}}; all families and leaves, with clips or without.
        durations: seconds, one number a clip.
        window_seconds, window_shares: one number an anomaly; the window's ratio of its clip's duration, in [0, 1].
        box_areas: ratio of the frame, one number a box.
    """

    clips: int
    groups: int
    splits: Counts
    families: Counts
    leaves: Counts
    generators: Counts
    sources: Counts
    durations: tuple[float, ...]
    window_seconds: tuple[float, ...]
    window_shares: tuple[float, ...]
    box_areas: tuple[float, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the numbers as plain values, the lists of numbers as their quantiles."""
        numbers = {name: summarise(getattr(self, name)) for name in
                   ("durations", "window_seconds", "window_shares", "box_areas")}  # fmt: skip
        return {**vars(self), **numbers}


def gather_stats(clips: Sequence[Clip]) -> Stats:
    """Count clips."""
    anomalies = [(clip, anomaly) for clip in clips for anomaly in clip.anomalies]
    windows = [(anomaly.window, clip.duration) for clip, anomaly in anomalies if anomaly.window is not None]
    return Stats(
        clips=len(clips),
        groups=len(group_clips(clips)),
        splits={split: _clean_and_not([c for c in clips if c.split == split]) for split in get_args(Split)},
        families=_by_split(((a.family.value, clip) for clip, a in anomalies), [family.value for family in Family]),
        leaves=_by_split(((a.leaf, clip) for clip, a in anomalies), LEAVES),
        generators=_by_split(((clip.generator, clip) for clip in clips), ()),
        sources=_by_split(((clip.source, clip) for clip in clips), ()),
        durations=tuple(clip.duration for clip in clips),
        window_seconds=tuple(end - start for (start, end), _ in windows),
        window_shares=tuple((end - start) / duration for (start, end), duration in windows),
        box_areas=tuple(box_area(box.box) for _, anomaly in anomalies for box in anomaly.boxes),
    )


def _clean_and_not(clips: Sequence[Clip]) -> dict[str, int]:
    clean = sum(clip.is_clean for clip in clips)
    return {"clean": clean, "anomalous": len(clips) - clean}


def _by_split(named: Iterable[tuple[str, Clip]], always: Iterable[str]) -> Counts:
    """Return how many different clips each name has in each split."""
    found = {(name, id(clip)): clip.split for name, clip in named}
    counted = Counter((name, split) for (name, _), split in found.items())
    names = dict.fromkeys([*always, *sorted({name for name, _ in counted})])
    return {name: {split: counted[name, split] for split in get_args(Split)} for name in names}


def summarise(values: Sequence[float]) -> dict[str, float] | None:
    """Return count, extremes, mean and quantiles of numbers, to six decimals; None if there are none."""
    import numpy as np

    if not values:
        return None
    quantiles = zip(QUANTILES, np.quantile(values, list(QUANTILES.values())), strict=True)
    numbers = {"min": min(values), "max": max(values), "mean": np.mean(values), **dict(quantiles)}
    return {"count": len(values), **{name: round(float(value), 6) for name, value in numbers.items()}}
