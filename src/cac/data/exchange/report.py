"""The import report: what was read, kept, refused or changed, and why.

It holds no time and no path outside the dataset, so that the same import gives the same bytes.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cac.errors import printable

REPORT_NAME = "import_report.json"
_MAX_EXAMPLES = 20

Reasons = dict[str, list[str]]  # reason → the videos it concerns, one entry each time


def _reasons() -> Reasons:
    return defaultdict(list)


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

    def note(self, reasons: Reasons, video: str, found: Iterable[str]) -> None:
        """Add the reasons of a video's annotations."""
        for reason in found:
            reasons[reason].append(video)

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
        **{name: {reason: _cut(where) for reason, where in reasons.items()} for name, reasons in named.items()},
    }
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    (folder / REPORT_NAME).write_text(text, encoding="utf-8")


def _cut(names: list[str]) -> dict[str, object]:
    return {"count": len(names), "examples": list(dict.fromkeys(names))[:_MAX_EXAMPLES]}
