"""What is seen of each clip: the champion's answer, how long the clip is, and how much moves in it.

The answers come from batch scoring, the rest from a second reading, for answers are kept without frames. Which clips
are looked at follows from their names alone, so the same place gives the same clips.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cac.batch.listing import Listed, Source
from cac.batch.plan import BatchSettings
from cac.batch.table import read_columns
from cac.errors import CacError
from cac.io.s3 import StoreUnreachableError
from cac.registry.predictions import Measured
from cac.video.decode import decode

_COLUMNS = ("video", "sha256", "score", "verdict", "family", "windows", "parsed", "error")


@dataclass(frozen=True)
class Seen:
    """A clip and what was said of it; None where that is not known.

    Attributes:
        name, sha256: which clip.
        score: in [0, 1], the probability that it is clean; None of a clip that could not be read.
        flagged: whether the verdict is "anomalous".
        family: of the anomaly, on a flagged clip.
        window_seconds: the lengths of the windows on a flagged clip.
        parsed: whether the answer obeyed the grammar.
        duration: seconds.
        motion: frame diagonals a second, as `cac.video.motion` has it.
    """

    name: str
    sha256: str | None
    score: float | None
    flagged: bool
    family: str | None
    window_seconds: tuple[float, ...]
    parsed: bool
    duration: float | None = None
    motion: float | None = None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Seen":
        """Read what `dataclasses.asdict` made, also after a JSON round trip."""
        return cls(**{**data, "window_seconds": tuple(data["window_seconds"])})


def seen_in_table(table: Path) -> list[Seen]:
    """Return the clips of a table of `cac score-batch`."""
    return [_of_row(dict(zip(_COLUMNS, row, strict=True))) for row in read_columns(table, *_COLUMNS)]


def _of_row(row: dict[str, Any]) -> Seen:
    lengths = tuple(end - start for start, end in row["windows"] or ())
    flagged = row["verdict"] == "anomalous"
    return Seen(row["video"], row["sha256"], row["score"], flagged, row["family"], lengths, bool(row["parsed"]))


def seen_in_measured(measured: Measured) -> list[Seen]:
    """Return the clips that a version was measured on, with what it said of them; how they move is not kept there."""
    rows = []
    for clip, judgement, score in zip(measured.clips, measured.judgements, measured.scores, strict=True):
        flagged = judgement.verdict == "anomalous"
        lengths = tuple(end - start for start, end in judgement.windows) if flagged else ()
        family = str(judgement.family) if judgement.family else None
        rows.append(Seen(clip.clip_id, clip.sha256, score, flagged, family, lengths, judgement.parsed, clip.duration))
    return rows


def watched(clips: Iterable[Seen], source: Source, listed: Sequence[Listed], settings: BatchSettings) -> list[Seen]:
    """Return the clips with duration and motion, read from where they are; those that cannot be read stay as they are.

    Raises:
        StoreUnreachableError: the source does not answer.
    """
    places = {video.name: video for video in listed}
    return [_watched(clip, source, places.get(clip.name), settings) for clip in clips]


def _watched(clip: Seen, source: Source, listed: Listed | None, settings: BatchSettings) -> Seen:
    if listed is None or clip.score is None:
        return clip
    from cac.video.motion import motion

    try:
        video = decode(source.read(listed, settings.max_bytes), settings.limits, name=listed.name)
    except StoreUnreachableError:
        raise
    except CacError:
        return clip  # gone since it was scored
    return replace(clip, duration=video.duration, motion=motion(video))


def to_lines(clips: Iterable[Seen]) -> str:
    """Return a JSON object a line."""
    return "".join(json.dumps(asdict(clip), sort_keys=True) + "\n" for clip in clips)


def from_lines(text: str) -> list[Seen]:
    """Read what `to_lines` wrote."""
    return [Seen.from_dict(json.loads(line)) for line in text.splitlines()]
