"""Scoring video files with a packaged reward model: what `cac score` does.

The model comes from the MLflow registry or from a package folder; nothing else of the project is read, so it works in
any folder. A file that cannot be scored does not keep the others from it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cac.errors import CacError
from cac.schema.geometry import Window
from cac.schema.judgement import Judgement
from cac.schema.score_row import score_row
from cac.video.decode import AnyVideo, open_video
from cac.video.stream import Limits

if TYPE_CHECKING:
    from cac.registry.pinned import PinnedModel

_BATCH_SIZE = 8  # videos decoded and judged at a time


@dataclass(frozen=True)
class Scored:
    """A video's judgement; `score` in [0, 1] is the calibrated probability that it is clean."""

    path: Path
    score: float
    judgement: Judgement
    threshold: float | None
    model: str

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows in seconds where the model sees an anomaly; none with a clean verdict."""
        return self.judgement.windows if self.judgement.verdict == "anomalous" else ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object `cac score --json` prints."""
        return {"video": str(self.path), **score_row(self.score, self.judgement, self.threshold, self.model)}


@dataclass(frozen=True)
class Failed:
    """A file that could not be scored, and why."""

    path: Path
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object `cac score --json` prints."""
        return {"video": str(self.path), "error": self.message}


def score_files(pinned: "PinnedModel", paths: Sequence[Path]) -> Iterator[Scored | Failed]:
    """Yield each file's judgement in the order given, or why there is none."""
    for start in range(0, len(paths), _BATCH_SIZE):
        batch = paths[start : start + _BATCH_SIZE]
        videos = [_decode(path) for path in batch]
        judged = iter(pinned.judge([video for video in videos if isinstance(video, AnyVideo)], _BATCH_SIZE))
        for path, video in zip(batch, videos, strict=True):
            if isinstance(video, Failed):
                yield video
                continue
            score, judgement = next(judged)
            yield Scored(path, score, judgement, pinned.threshold, pinned.source)


def _decode(path: Path) -> AnyVideo | Failed:
    try:
        return open_video(path, Limits())
    except CacError as error:
        return Failed(path, str(error))


def draw_overlay(scored: Scored, out: Path) -> None:
    """Write the video again with window, boxes, verdict and score drawn."""
    from cac.video.overlay import overlay_video

    overlay_video(open_video(scored.path), scored.judgement, scored.score, scored.threshold, out)
