"""The judgements of a clip's segments as one of the whole clip."""

from collections.abc import Sequence
from dataclasses import replace

from cac.schema.dialogue import Finding
from cac.schema.geometry import Window, merge_windows
from cac.schema.judgement import Judgement


def merge_judgements(parts: Sequence[Judgement], starts: Sequence[float]) -> Judgement:
    """Return the judgement of a clip from those of its segments.

    The clip is anomalous if one of them is. Windows are those of the anomalous segments, or of all if none is; the
    attribution is that of the segment least likely to be clean. The margin of each segment is kept, because the score
    is made of all (`Calibration.probability`). If one of them could not be read, nothing is known of the whole.

    Args:
        parts: at least one judgement, in the order of the segments.
        starts: when each segment starts, in seconds.
    """
    if len(parts) == 1:
        return parts[0]
    moved = [_moved(part, start) for part, start in zip(parts, starts, strict=True)]
    parsed = all(part.parsed for part in parts)
    accusing = [part for part in moved if part.verdict == "anomalous"]
    worst = min(accusing or moved, key=lambda part: part.margin)
    anomalous = parsed and bool(accusing)
    margins = tuple(part.margin for part in parts)
    return Judgement(
        margin=min(margins) if parsed else 0.0,
        verdict="anomalous" if anomalous else "clean",
        windows=tuple(merge_windows([window for part in accusing or moved for window in part.windows])),
        findings=_in_order([finding for part in moved for finding in part.findings]),
        family=worst.family if anomalous else None,
        leaf=worst.leaf if anomalous else None,
        parsed=parsed,
        frames_seen=sum(part.frames_seen for part in parts),
        scan_text=_joined([part.scan_text for part in parts], starts),
        look_text=_joined([part.look_text for part in parts], starts),
        unaided=all(part.unaided for part in parts),
        scan_windows=tuple(merge_windows([window for part in moved for window in part.scan_windows])),
        segment_margins=margins if parsed else (),
    )


def _moved(part: Judgement, start: float) -> Judgement:
    return replace(
        part,
        windows=_later(part.windows, start),
        scan_windows=_later(part.scan_windows, start),
        findings=tuple(replace(finding, time=round(finding.time + start, 6)) for finding in part.findings),
    )


def _later(windows: Sequence[Window], start: float) -> tuple[Window, ...]:
    return tuple((round(first + start, 6), round(last + start, 6)) for first, last in windows)


def _in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings by time; of a frame that two segments show, what one of them sees there."""
    by_time: dict[float, Finding] = {}
    for finding in findings:
        if finding.box is not None or finding.time not in by_time:
            by_time[finding.time] = finding
    return tuple(by_time[time] for time in sorted(by_time))


def _joined(texts: Sequence[str], starts: Sequence[float]) -> str:
    return "\n\n".join(f"from {start:.3f} s:\n{text}" for text, start in zip(texts, starts, strict=True))
