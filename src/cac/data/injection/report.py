"""The report of an injection, file by file; every refusal has a reason."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

REPORT_NAME = "injection_report.json"

Status = Literal["used", "partly used", "refused"]


@dataclass
class FileReport:
    """One file of the folder.

    Attributes:
        file: its path in the folder.
        segments: how many it was cut into.
        pairs: how many were made of it.
        reason: why it ended early or gave no pair; None if there was no problem.
        notes: what normalisation changed.
    """

    file: str
    segments: int = 0
    pairs: int = 0
    reason: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> Status:
        """Whether pairs were made of it."""
        if self.pairs == 0:
            return "refused"
        return "used" if self.reason is None else "partly used"


@dataclass(frozen=True)
class Refusal:
    """A segment, or one leaf in it, that was refused. `leaf` is None if the whole segment was."""

    file: str
    segment: int
    leaf: str | None
    reason: str


@dataclass
class InjectionReport:
    """The whole folder.

    Attributes:
        files: one for each file, in the order of their names.
        refusals: segments and leaves of readable files that were refused.
        leaves: leaf → pairs made.
        notes: on the dataset as a whole.
    """

    files: list[FileReport] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    leaves: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def pairs(self) -> int:
        """How many pairs were made."""
        return sum(one.pairs for one in self.files)

    def to_dict(self) -> dict[str, object]:
        """Return the report as plain values, with the count of each reason."""
        return {
            "pairs": self.pairs,
            "leaves": dict(sorted(self.leaves.items())),
            "files": [{"status": one.status, **vars(one)} for one in self.files],
            "refused": [vars(one) for one in self.refusals],
            "reasons": dict(sorted(Counter(one.reason for one in self.refusals).items())),
            "notes": self.notes,
        }


def report_rows(report: InjectionReport) -> list[list[str]]:
    """Return the report as rows of text: file, status, segments, pairs, refused, and remarks."""
    rows = []
    for one in report.files:
        own = [refusal.reason for refusal in report.refusals if refusal.file == one.file]
        counted = [f"{reason} ({count})" for reason, count in Counter(own).most_common()]
        said = [*([one.reason] if one.reason else []), *one.notes, *counted]
        rows.append([one.file, one.status, str(one.segments), str(one.pairs), str(len(own)), "; ".join(said) or "–"])
    return rows
