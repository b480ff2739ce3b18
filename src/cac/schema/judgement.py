"""The reward model's judgement of one video, as plain data.

Evaluation measures judgements, the report draws them, and the registered model returns them. This module depends on no
model and no framework; `model/reward_model.py` creates judgements.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from cac.schema.dialogue import Finding, Look, Scan, Verdict
from cac.schema.geometry import Box, Window, interpolate_box, merge_windows
from cac.schema.taxonomy import Family


@dataclass(frozen=True)
class Judgement:
    """The verdict on one video with its evidence.

    Attributes:
        margin: uncalibrated log odds that the second look names no anomaly; 0 (abstention) if it was not parsed.
        verdict: the verdict of the answer; "clean" if it was not parsed.
        windows: the time windows that the scan selected, in seconds; empty if nothing looked suspicious. A clean
            verdict may have windows: the second look found nothing in them.
        findings: the finding for each dense frame of turn 2, sorted by time.
        family, leaf: the attribution; None for a clean verdict.
        parsed: whether both answers were parsed.
        frames_seen: number of distinct frames shown in both turns.
        scan_text, look_text: the two answers as generated.
        unaided: whether both answers needed no help; false if constrained decoding overruled a token.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    margin: float
    verdict: Verdict
    windows: tuple[Window, ...]
    findings: tuple[Finding, ...]
    family: Family | None
    leaf: str | None
    parsed: bool
    frames_seen: int
    scan_text: str
    look_text: str
    unaided: bool = True

    def box_at(self, time: float) -> Box | None:
        """Return the predicted box at a time: as answered, or interpolated between two consecutive boxes.

        There is no box at a dense frame answered "none", and none outside the time span of the dense frames.
        """
        nearest = min(self.findings, key=lambda finding: abs(finding.time - time), default=None)
        if nearest is None:
            return None
        if abs(nearest.time - time) <= 0.051:  # answers carry one decimal, so half a step of rounding
            return nearest.box
        before = [finding for finding in self.findings if finding.time <= time]
        after = [finding for finding in self.findings if finding.time > time]
        if not before or not after:
            return None
        a, b = before[-1], after[0]
        if a.box is None or b.box is None:
            return None
        return interpolate_box(a.box, b.box, (time - a.time) / (b.time - a.time))

    def without_constraint(self) -> "Judgement":
        """Return the judgement without constrained decoding: the same, or an abstention if the model needed help."""
        if self.unaided:
            return self
        nothing: dict[str, Any] = {"margin": 0.0, "verdict": "clean", "windows": (), "findings": ()}
        return replace(self, **nothing, family=None, leaf=None, parsed=False)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; `from_dict` reads it back."""
        data: dict[str, Any] = _ADAPTER.dump_python(self)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Judgement":
        """Read the data that `to_dict` wrote, also after a JSON round trip.

        Raises:
            ValidationError: a field is missing, unknown or of another type.
        """
        return _ADAPTER.validate_python(data)


_ADAPTER = TypeAdapter(Judgement)


def windows_from_findings(findings: Sequence[Finding], duration: float) -> tuple[Window, ...]:
    """Return the windows around frames with a box; each reaches half way to the neighbouring frames.

    For a look without a scan. `findings` belong to frames spread over a clip of `duration` seconds.
    """
    times = [finding.time for finding in findings]
    edges = [0.0, *((a + b) / 2 for a, b in pairwise(times)), duration]
    spans = [(edges[i], edges[i + 1]) for i, finding in enumerate(findings) if finding.box]
    return tuple(merge_windows([(start, end) for start, end in spans if start < end]))


def combine_turns(
    scan: Scan | None,
    look: Look | None,
    *,
    margin: float,
    frames_seen: int,
    texts: tuple[str, str],
    unaided: bool = True,
) -> Judgement:
    """Combine both parsed turns (None: not parsed) into a judgement; `texts` are the answers as generated."""
    parsed = scan is not None and look is not None
    return Judgement(
        margin=margin if parsed else 0.0,
        verdict=look.verdict if look else "clean",
        windows=scan.windows if scan else (),
        findings=look.findings if look else (),
        family=look.family if look else None,
        leaf=look.leaf if look else None,
        parsed=parsed,
        frames_seen=frames_seen,
        scan_text=texts[0],
        look_text=texts[1],
        unaided=parsed and unaided,
    )
