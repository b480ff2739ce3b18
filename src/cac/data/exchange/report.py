"""The import report: what was read, kept, refused or changed, and why, as a whole and by file of the source.

It holds no time and no path outside the dataset, so that the same import gives the same bytes.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cac.errors import CacError, printable

REPORT_NAME = "import_report.json"
_MAX_EXAMPLES = 20
_SHOWN_REASONS = 3

Reasons = dict[str, list[str]]  # reason → the videos it concerns, one entry each time


def _reasons() -> Reasons:
    return defaultdict(list)


@dataclass
class SourceCounts:
    """Counts of the clips of one file of the source; each is kept as clean, kept as anomalous, or refused."""

    read: int = 0
    clean: int = 0
    anomalous: int = 0
    refused: Counter[str] = field(default_factory=Counter)


@dataclass
class Report:
    """Counts of an import; each video or annotation is either kept, ignored or refused."""

    format: str
    videos: int = 0  # that the source names
    clean: int = 0
    copied: int = 0  # byte for byte
    encoded: int = 0
    annotations: int = 0  # annotations in the source
    kept: int = 0
    ignored: int = 0  # their label says so
    anomalies: int = 0
    refused_videos: Reasons = field(default_factory=_reasons)
    refused_annotations: Reasons = field(default_factory=_reasons)
    annotations_in_refused_videos: int = 0  # of refused videos
    changed: Reasons = field(default_factory=_reasons)
    not_named: list[str] = field(default_factory=list)  # videos of the folder that the source does not name
    sources: dict[str, SourceCounts] = field(default_factory=lambda: defaultdict(SourceCounts))

    def note(self, reasons: Reasons, video: str, found: Iterable[str]) -> None:
        """Add the reasons of a video's annotations."""
        for reason in found:
            reasons[reason].append(video)

    def count_refused(self, origin: str, reason: str) -> None:
        """Count a refused clip in the table by source."""
        self.sources[origin].read += 1
        self.sources[origin].refused[reason] += 1

    def count_kept(self, origin: str, is_clean: bool) -> None:
        """Count a clip that is kept in the table by source."""
        source = self.sources[origin]
        source.read += 1
        source.clean += is_clean
        source.anomalous += not is_clean

    @property
    def refusals(self) -> int:
        """The number of videos and annotations that were refused."""
        return sum(map(len, (*self.refused_videos.values(), *self.refused_annotations.values())))

    def source_rows(self) -> list[tuple[str, int, int, int, int, str]]:
        """Return rows of the table by source: file, read, kept clean, kept anomalous, refused, and why."""
        return [
            (printable(name), one.read, one.clean, one.anomalous, one.refused.total(), _most_common(one.refused))
            for name, one in sorted(self.sources.items())
        ]

    def rows(self) -> list[tuple[str, int, str]]:
        """Return rows of the table: what, count, and one or two examples."""
        refused_videos = sum(map(len, self.refused_videos.values()))
        refused_marks = sum(map(len, self.refused_annotations.values()))
        return [
            ("videos named by the source", self.videos, ""),
            ("  kept", self.copied + self.encoded, f"{self.clean} clean; {self.encoded} encoded again"),
            ("  refused", refused_videos, ""),
            *_reason_rows(self.refused_videos),
            ("annotations", self.annotations, ""),
            ("  kept", self.kept, f"as {self.anomalies} anomalies"),
            ("  ignored", self.ignored, "their label says so"),
            ("  in refused videos", self.annotations_in_refused_videos, ""),
            ("  refused", refused_marks, ""),
            *_reason_rows(self.refused_annotations),
            ("annotations changed", sum(map(len, self.changed.values())), ""),
            *_reason_rows(self.changed),
            ("videos the source does not name", len(self.not_named), _examples(self.not_named)),
        ]


class ImportRefusedError(CacError):
    """An import of which nothing is written; `report` says what was refused."""

    def __init__(self, message: str, report: Report):
        """Keep the report for whoever prints it."""
        super().__init__(message)
        self.report = report


def _most_common(reasons: Counter[str]) -> str:
    shown = [f"{reason} ({count})" for reason, count in reasons.most_common(_SHOWN_REASONS)]
    return "; ".join(shown) + ("; …" if len(reasons) > _SHOWN_REASONS else "")


def _reason_rows(reasons: Reasons) -> list[tuple[str, int, str]]:
    return [(f"    {reason}", len(where), _examples(where)) for reason, where in sorted(reasons.items())]


def _examples(names: list[str]) -> str:
    different = list(dict.fromkeys(names))
    return ", ".join(map(printable, different[:2])) + (", …" if len(different) > 2 else "")


def write_report(report: Report, folder: Path) -> None:
    """Write the report into a dataset folder; long lists are truncated, their counts are complete."""
    named = {
        "refused_videos": report.refused_videos,
        "refused_marks": report.refused_annotations,
        "changed": report.changed,
    }
    content = {
        "format": report.format,
        "videos": {
            "named": report.videos,
            "kept": report.copied + report.encoded,
            "clean": report.clean,
            "copied": report.copied,
            "encoded": report.encoded,
            "not_named": _cut(report.not_named),
        },
        "annotations": {
            "read": report.annotations,
            "kept": report.kept,
            "ignored": report.ignored,
            "in_refused_videos": report.annotations_in_refused_videos,
            "anomalies": report.anomalies,
        },
        "sources": {name: _source(one) for name, one in report.sources.items()},
        **{name: {reason: _cut(where) for reason, where in reasons.items()} for name, reasons in named.items()},
    }
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    (folder / REPORT_NAME).write_text(text, encoding="utf-8")


def _source(counts: SourceCounts) -> dict[str, object]:
    refused = dict(sorted(counts.refused.items()))
    return {"read": counts.read, "clean": counts.clean, "anomalous": counts.anomalous, "refused": refused}


def _cut(names: list[str]) -> dict[str, object]:
    return {"count": len(names), "examples": list(dict.fromkeys(names))[:_MAX_EXAMPLES]}
