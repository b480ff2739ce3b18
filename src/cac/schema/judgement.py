"""What the reward model says of one video, as plain data.

A `Judgement` is what evaluation measures, the report draws, and the registered model returns. It knows no model and no
framework; `model/reward_model.py` makes it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from cac.schema.dialogue import Finding, Look, Scan, Verdict
from cac.schema.geometry import Box, Window, interpolate_box, merge_windows
from cac.schema.taxonomy import Family


@dataclass(frozen=True)
class Judgement:
    """The verdict on one video with its evidence.

    Attributes:
        margin: log odds that the second look names no anomaly, uncalibrated. Zero if the answer could not be parsed,
            which abstains.
        verdict: what the answer says; "clean" if it could not be parsed.
        windows: the windows the scan chose to concentrate on, in seconds; empty if it found nothing suspicious. They
            may be there with a clean verdict: it looked, and found nothing.
        findings: what turn 2 says of each dense frame, sorted by time.
        family, leaf: the attribution; None on a clean verdict.
        parsed: whether both turns could be read.
        frames_seen: distinct frames shown over both turns.
        scan_text, look_text: the two answers as generated.
        unaided: whether the model wrote both so by itself; false where the grammar had to overrule a token.
    """

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
        """Return the predicted box at a time: as answered, or between two answered boxes in a row interpolated.

        A dense frame answered "none" has no box, nor has a time outside the span of the answered frames.
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
        """Return what is left without the grammar's help: the same, or an abstention where the model needed it."""
        if self.unaided:
            return self
        nothing: dict[str, Any] = {"margin": 0.0, "verdict": "clean", "windows": (), "findings": ()}
        return replace(self, **nothing, family=None, leaf=None, parsed=False)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Judgement":
        """Read what `to_dict` wrote, also after a JSON round trip."""
        findings = tuple(Finding(f["time"], tuple(f["box"]) if f["box"] else None) for f in data["findings"])
        family = Family(data["family"]) if data["family"] else None
        windows = tuple((start, end) for start, end in data["windows"])
        return cls(**{**data, "findings": findings, "family": family, "windows": windows})


def windows_from_findings(findings: Sequence[Finding], duration: float) -> tuple[Window, ...]:
    """Return the windows that frames named anomalous stand for: each reaches half way to its neighbours.

    For a look without a scan before it; `findings` are of frames spread over a clip of `duration` seconds.
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
    """Combine both turns as they were read (None: outside the grammar); `texts` are the answers as generated."""
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
