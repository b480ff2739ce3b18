"""Judges that cost nothing, standing where a pinned model would: the mean brightness of a video is its answer."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cac.schema.dialogue import Finding
from cac.schema.judgement import Judgement
from cac.schema.taxonomy import LEAVES, family_of
from cac.video.decode import Video

LEAF = next(iter(LEAVES))
UNLOOKABLE = 13  # a video of this height is one that the model can do nothing with


def clip(brightness: int, frames: int = 8, height: int = 32) -> Video:
    """A grey video of eight frames a second."""
    return Video(np.full((frames, height, 32, 3), brightness, np.uint8), 8.0)


def score_of(brightness: float) -> float:
    """The score such a video gets, up to what encoding changes."""
    return round(brightness / 255, 2)


@dataclass
class BrightIsClean:
    """Scores by brightness, notes the sizes of its batches, and may take its time."""

    source: str = "models:/bright/7"
    threshold: float | None = 0.5
    seconds: float = 0.0
    batches: list[int] = field(default_factory=list)

    def judge(self, videos: Sequence[Video], batch_size: int) -> list[tuple[float, Judgement]]:
        self.batches.append(len(videos))
        time.sleep(self.seconds)
        if any(video.frames.shape[1] == UNLOOKABLE for video in videos):
            raise ValueError("height 13")
        return [_judged(video) for video in videos]


def _judged(video: Video) -> tuple[float, Judgement]:
    score = score_of(float(video.frames.mean()))
    if score >= 0.5:
        return score, Judgement(2.0, "clean", ((0.0, 1.0),), (), None, None, score < 0.95, 8, "", "nothing")
    found = (Finding(0.5, (0.1, 0.1, 0.5, 0.5)), Finding(0.6, None))
    return score, Judgement(-2.0, "anomalous", ((0.5, 1.0),), found, family_of(LEAF), LEAF, True, 8, "", "it is dark")
