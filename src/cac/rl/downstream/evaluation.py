"""What a generator truly does: how often its clips have an anomaly, how much they move, whether they follow the prompt.

Nothing here asks the reward model. Several clips are generated per prompt, so that their diversity is measured as well.
With the same seed, the prompts are the same, and so is all randomness for as long as the decisions are the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from cac.rl.downstream.clips import GeneratedClip
from cac.rl.downstream.grpo import RandomStreams, generate
from cac.rl.downstream.prompts import random_prompt
from cac.video.decode import Video
from cac.video.motion import mean_motion

if TYPE_CHECKING:
    from cac.rl.downstream.generator import ClipGenerator

_EVALUATION = 1_000_003  # in a seed key, so that the random streams differ from those of training
_CELL = 12  # pixels averaged when clips are compared
_EVERY = 6  # frames

Columns = dict[str, list[list[float]]]  # measure -> one row per prompt, one number per clip


@dataclass(frozen=True)
class Sample:
    """Clips of a generator, one row per prompt, and the same clips rendered."""

    clips: list[list[GeneratedClip]]
    videos: list[list[Video]]

    def columns(self) -> Columns:
        """Return the measures of each clip.

        anomalous: whether an anomaly is visible. motion: frame diagonals per second. clean_motion: that of its clean
        twin, because vanishing and jumping things have no flow. things: the share of the prompt's things that are
        there. pace: whether the tempo is the prompt's. still: whether the clip is still. difference: the diversity of
        the prompt's clips.
        """
        return {
            "anomalous": self._each(lambda clip: float(clip.is_anomalous)),
            "things": self._each(lambda clip: clip.prompted_share),
            "pace": self._each(lambda clip: float(clip.keeps_pace)),
            "still": self._each(lambda clip: float(clip.choices["tempo"] == "still")),
            "motion": [[round(mean_motion(video), 6) for video in row] for row in self.videos],
            "clean_motion": self._each(lambda clip: round(mean_motion(clip.clean_twin()), 6)),
            "difference": [[difference(row)] * len(row) for row in self.videos],
        }

    def leaves(self) -> dict[str, int]:
        """Count the visible anomalies by leaf."""
        found = [leaf for row in self.clips for clip in row for leaf in clip.anomalies]
        return {leaf: found.count(leaf) for leaf in sorted(set(found))}

    def _each(self, number: Callable[[GeneratedClip], float]) -> list[list[float]]:
        return [[number(clip) for clip in row] for row in self.clips]


def sample_clips(generator: "ClipGenerator", prompts: int, each: int, seed: int) -> Sample:
    """Generate `each` clips of random prompts; the prompts depend on the seed alone."""
    asked = [random_prompt(np.random.default_rng([seed, _EVALUATION, i])) for i in range(prompts)]
    clips = [
        generate(generator, [prompt] * each, RandomStreams.of(seed, _EVALUATION, i)) for i, prompt in enumerate(asked)
    ]
    return Sample(clips, [[clip.video() for clip in row] for row in clips])


def difference(videos: Sequence[Video]) -> float:
    """Return the diversity of videos of one shape: the mean distance of their pixels over all pairs, in [0, 1]."""
    small = [_thumbnails(video) for video in videos]
    return round(fmean(float(np.abs(a - b).mean()) for a, b in combinations(small, 2)), 6)


def _thumbnails(video: Video) -> np.ndarray:
    frames = video.frames[::_EVERY]
    count, height, width, _ = frames.shape
    cells = frames.reshape(count, height // _CELL, _CELL, width // _CELL, _CELL, 3)
    result: np.ndarray = cells.mean(axis=(2, 4)) / 255
    return result
