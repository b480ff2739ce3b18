"""What is recorded of each clip: the champion's answer, the clip's duration, and how much moves in it.

The answers come from batch scoring. Duration and motion come from a second reading, because batch scoring keeps no
frames. The choice of clips depends on their names alone, so the same source gives the same clips.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from cac.batch.listing import ListedVideo, Source
from cac.batch.plan import BatchSettings
from cac.batch.table import read_columns
from cac.errors import CacError
from cac.io.s3 import StoreUnreachableError
from cac.registry.predictions import Predictions
from cac.video.decode import open_video

_COLUMNS = ("video", "sha256", "score", "verdict", "family", "windows", "parsed", "error")


@dataclass(frozen=True)
class ScoredClip:
    """A clip with the champion's answer; None where a value is unknown.

    Attributes:
        name, sha256: identify the clip.
        score: probability, in [0, 1], that it is clean; None if the clip could not be read.
        flagged: whether the verdict is "anomalous".
        family: of the anomaly, for a flagged clip.
        window_seconds: the lengths of the windows of a flagged clip.
        parsed: whether the answer obeyed the grammar.
        duration: seconds.
        motion: frame diagonals per second, see `cac.video.motion`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    name: str
    sha256: str | None
    score: float | None
    flagged: bool
    family: str | None
    window_seconds: tuple[float, ...]
    parsed: bool
    duration: float | None = None
    motion: float | None = None


_ADAPTER = TypeAdapter(ScoredClip)


def clips_from_table(table: Path) -> list[ScoredClip]:
    """Return the clips of a table of `cac score-batch`."""
    return [_of_row(dict(zip(_COLUMNS, row, strict=True))) for row in read_columns(table, *_COLUMNS)]


def _of_row(row: dict[str, Any]) -> ScoredClip:
    lengths = tuple(end - start for start, end in row["windows"] or ())
    flagged = row["verdict"] == "anomalous"
    return ScoredClip(row["video"], row["sha256"], row["score"], flagged, row["family"], lengths, bool(row["parsed"]))


def clips_from_predictions(measured: Predictions) -> list[ScoredClip]:
    """Return the clips that a version was evaluated on, with its answers; their motion is not stored."""
    rows = []
    for clip, judgement, score in zip(measured.clips, measured.judgements, measured.scores, strict=True):
        flagged = judgement.verdict == "anomalous"
        lengths = tuple(end - start for start, end in judgement.windows) if flagged else ()
        family = str(judgement.family) if judgement.family else None
        rows.append(
            ScoredClip(clip.clip_id, clip.sha256, score, flagged, family, lengths, judgement.parsed, clip.duration)
        )
    return rows


def with_duration_and_motion(
    clips: Iterable[ScoredClip], source: Source, listed: Sequence[ListedVideo], settings: BatchSettings
) -> list[ScoredClip]:
    """Return the clips with duration and motion, read from the source; clips that cannot be read stay unchanged.

    Raises:
        StoreUnreachableError: the source does not answer.
    """
    by_name = {video.name: video for video in listed}
    return [_with_duration_and_motion(clip, source, by_name.get(clip.name), settings) for clip in clips]


def _with_duration_and_motion(
    clip: ScoredClip, source: Source, listed: ListedVideo | None, settings: BatchSettings
) -> ScoredClip:
    if listed is None or clip.score is None:
        return clip
    from cac.video.motion import mean_motion

    try:
        video = open_video(source.read(listed, settings.max_bytes), settings.limits, name=listed.name)
    except StoreUnreachableError:
        raise
    except CacError:
        return clip  # deleted since it was scored
    return replace(clip, duration=video.duration, motion=mean_motion(video))


def write_lines(clips: Iterable[ScoredClip]) -> str:
    """Return the clips as JSON lines."""
    return "".join(json.dumps(_ADAPTER.dump_python(clip), sort_keys=True) + "\n" for clip in clips)


def read_lines(text: str) -> list[ScoredClip]:
    """Read the JSON lines that `write_lines` wrote."""
    return [_ADAPTER.validate_json(line) for line in text.splitlines()]
