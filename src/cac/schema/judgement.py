"""The reward model's judgement of one video, as plain data.

Evaluation measures judgements, the report draws them, and the registered model returns them. This module depends on no
model and no framework; `model/reward_model.py` creates judgements.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from cac.schema.dialogue import Finding, Look, Scan, Verdict, format_times
from cac.schema.geometry import Box, Window, cut_windows, interpolate_box
from cac.schema.taxonomy import Family

HOLD = 0.2  # seconds that a box is held beyond the frames of the look
_SAME_TIME = 1e-4  # seconds; windows are rounded to it


@dataclass(frozen=True)
class Judgement:
    """The verdict on one video with its evidence.

    Attributes:
        margin: uncalibrated log odds that the second look names no anomaly; 0 (abstention) if it was not parsed.
        verdict: as answered, or as `with_verdict` decided it from the score; "clean" if it was not parsed.
        windows: when the anomaly is seen, in seconds: around the frames of the look that show it; those of the scan
            if the look sees none. A clean verdict may have windows: the second look found nothing in them.
        findings: the finding for each frame of the look, with its exact time, sorted by time.
        family, leaf: the attribution; None for a clean verdict.
        parsed: whether both answers were parsed.
        frames_seen: number of distinct frames shown in both turns.
        scan_text, look_text: the two answers as generated.
        unaided: whether both answers needed no help; false if constrained decoding overruled a token.
        scan_windows: the time windows that the scan selected, in seconds, and whose frames turn 2 showed; empty if
            nothing looked suspicious, or with one look.
        warnings: why the score may not be what it seems, each "kind: reason".
        segment_margins: the margin of each segment of a long clip, whose own `margin` is the lowest of them; empty for
            a clip that was judged as a whole.
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
    scan_windows: tuple[Window, ...] = ()
    warnings: tuple[str, ...] = ()
    segment_margins: tuple[float, ...] = ()

    @property
    def margins(self) -> tuple[float, ...]:
        """The margins of all segments, one of a clip that was judged as a whole."""
        return self.segment_margins or (self.margin,)

    def with_verdict(self, verdict: Verdict) -> "Judgement":
        """Return the judgement with another verdict; a clean one has no attribution."""
        if verdict == self.verdict:
            return self
        attribution: dict[str, Any] = {"family": None, "leaf": None} if verdict == "clean" else {}
        return replace(self, verdict=verdict, **attribution)

    def box_at(self, time: float, hold: float = HOLD) -> Box | None:
        """Return the predicted box at a time in seconds; None if the look sees nothing there.

        Within `windows` the box is interpolated between the frames of the look. Before the first frame of the look and
        after its last, which answered nothing about the time beyond them, their boxes are held for `hold` seconds.
        """
        boxes = [(finding.time, finding.box) for finding in self.findings if finding.box]
        if not boxes or not (self._is_inside(time) or self._is_held(time, hold)):
            return None
        before = [one for one in boxes if one[0] <= time]
        after = [one for one in boxes if one[0] > time]
        if not before or not after:
            return (before[-1] if before else after[0])[1]
        (start, first), (end, second) = before[-1], after[0]
        if not self._is_between(start, end):
            return first if time - start <= end - time else second
        return interpolate_box(first, second, (time - start) / (end - start))

    def _is_inside(self, time: float) -> bool:
        return any(start - _SAME_TIME <= time < end - _SAME_TIME for start, end in self.windows)

    def _is_held(self, time: float, hold: float) -> bool:
        """Whether a time is just outside the frames of the look, beside one with a box."""
        first, last = self.findings[0], self.findings[-1]
        early, late = first.time - time, time - last.time
        return bool((first.box and 0 <= early <= hold) or (last.box and 0 <= late <= hold))

    def _is_between(self, start: float, end: float) -> bool:
        """Whether one window holds two times, so that no frame between them was answered "none"."""
        return any(first <= start + _SAME_TIME and end < last for first, last in self.windows)

    def without_constraint(self) -> "Judgement":
        """Return the judgement without constrained decoding: the same, or an abstention if the model needed help."""
        if self.unaided:
            return self
        nothing: dict[str, Any] = {"margin": 0.0, "verdict": "clean", "windows": (), "findings": (), "scan_windows": ()}
        return replace(self, **nothing, family=None, leaf=None, parsed=False, segment_margins=())

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; `from_dict` reads it back."""
        data: dict[str, Any] = _ADAPTER.dump_python(self)
        if not self.segment_margins:
            del data["segment_margins"]
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Judgement":
        """Read the data that `to_dict` wrote, also after a JSON round trip.

        Raises:
            ValidationError: a field is missing, unknown or of another type.
        """
        return _ADAPTER.validate_python(data)


_ADAPTER = TypeAdapter(Judgement)


@dataclass(frozen=True)
class ShownFrames:
    """What a look showed of a clip: the time of each frame, how long a frame lasts, and the clip, all in seconds."""

    times: tuple[float, ...]
    frame_seconds: float
    duration: float


def windows_from_findings(findings: Sequence[Finding], frame_seconds: float, duration: float) -> tuple[Window, ...]:
    """Return when an anomaly is seen: around each frame with a box, half way to the neighbouring frames of the look.

    A frame lasts from its time until the next frame's. If the anomaly shows in the frame at `a` and not in the next
    shown frame at `b`, it ends at one of the frames between: on average at (a + b + frame_seconds) / 2. The first and
    the last frame have a neighbour at the same distance as the one they have.

    Args:
        findings: of the frames of the look, in order of time.
        frame_seconds: how long a frame lasts.
        duration: of the clip, to which windows are cut.
    """
    times = [finding.time for finding in findings]
    if not times:
        return ()
    gaps = [later - earlier for earlier, later in pairwise(times)] or [frame_seconds]
    neighbours = [times[0] - gaps[0], *times, times[-1] + gaps[-1]]
    edges = [round((earlier + later + frame_seconds) / 2, 4) for earlier, later in pairwise(neighbours)]
    return tuple(cut_windows([(edges[i], edges[i + 1]) for i, one in enumerate(findings) if one.box], duration))


def with_exact_times(findings: Sequence[Finding], times: Sequence[float]) -> tuple[Finding, ...]:
    """Return the findings with the exact times of the frames shown; answers say their stamps.

    An answer that does not speak of exactly these frames keeps its times.
    """
    if [finding.time for finding in findings] != [float(stamp) for stamp in format_times(times)]:
        return tuple(findings)
    return tuple(replace(finding, time=time) for finding, time in zip(findings, times, strict=True))


def combine_turns(
    scan: Scan | None,
    look: Look | None,
    *,
    shown: ShownFrames,
    margin: float,
    frames_seen: int,
    texts: tuple[str, str],
    unaided: bool = True,
) -> Judgement:
    """Combine both parsed turns (None: not parsed) into a judgement.

    Args:
        scan: turn 1; one without windows if there is only one look.
        look: turn 2.
        shown: the frames of the look; without times if there was none.
        margin: log odds of a clean clip.
        frames_seen: number of distinct frames shown.
        texts: the two answers as generated.
        unaided: whether no token was overruled.
    """
    parsed = scan is not None and look is not None
    selected = tuple(cut_windows(scan.windows, shown.duration)) if scan else ()
    findings = with_exact_times(look.findings, shown.times) if look else ()
    seen = windows_from_findings(findings, shown.frame_seconds, shown.duration)
    return Judgement(
        margin=margin if parsed else 0.0,
        verdict=look.verdict if look else "clean",
        windows=seen or selected,
        findings=findings,
        family=look.family if look else None,
        leaf=look.leaf if look else None,
        parsed=parsed,
        frames_seen=frames_seen,
        scan_text=texts[0],
        look_text=texts[1],
        unaided=parsed and unaided,
        scan_windows=selected,
    )
