"""Counts of a dataset: clips, splits, families, leaves and durations.

Out of scope: distributions (`drift.py`, `cac data stats`).
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import get_args

from cac.schema.annotations import Clip, Split
from cac.schema.taxonomy import LEAVES, Family


@dataclass
class Summary:
    """The counts so far; a clip counts once for each family and leaf it shows."""

    clips: int = 0
    invalid_lines: int = 0
    splits: Counter[tuple[str, bool]] = field(default_factory=Counter)  # (split, whether clean)
    families: Counter[Family] = field(default_factory=Counter)
    leaves: Counter[str] = field(default_factory=Counter)
    shortest: float = math.inf
    longest: float = 0.0
    total: float = 0.0

    def add(self, clip: Clip | None) -> None:
        """Count a clip, or an invalid line (None)."""
        if clip is None:
            self.invalid_lines += 1
            return
        self.clips += 1
        self.splits[clip.split, clip.is_clean] += 1
        self.families.update({anomaly.family for anomaly in clip.anomalies})
        self.leaves.update({anomaly.leaf for anomaly in clip.anomalies})
        self.shortest, self.longest = min(self.shortest, clip.duration), max(self.longest, clip.duration)
        self.total += clip.duration

    def to_dict(self) -> dict[str, object]:
        """Return the numbers; durations are in seconds, None without a clip or where one is not finite."""
        return {
            "clips": self.clips,
            "invalid_lines": self.invalid_lines,
            "splits": {split: self._split(split) for split in get_args(Split)},
            "families": {family.value: self.families[family] for family in Family},
            "leaves": {leaf: self.leaves[leaf] for leaf in LEAVES},
            "durations": self._durations(),
        }

    def _split(self, split: str) -> dict[str, int]:
        clean, anomalous = self.splits[split, True], self.splits[split, False]
        return {"clips": clean + anomalous, "clean": clean, "anomalous": anomalous}

    def _durations(self) -> dict[str, float] | None:
        if not self.clips or not math.isfinite(self.total):
            return None
        values = {
            "shortest": self.shortest,
            "mean": self.total / self.clips,
            "longest": self.longest,
            "total": self.total,
        }
        return {name: round(value, 6) for name, value in values.items()}
