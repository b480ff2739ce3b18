"""What a generator truly does: how often its clips have an anomaly, how much they move, whether they show the prompt.

Nothing here asks the reward model. Several clips are made of each prompt, so that it is also seen how much they differ.
Made anew with the same seed, prompts are the same and chance falls the same way as long as decisions do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from cac.rl.downstream.clips import Made
from cac.rl.downstream.optimise import Chance, generate
from cac.rl.downstream.prompts import random_prompt
from cac.video.decode import Video
from cac.video.motion import motion

if TYPE_CHECKING:
    from cac.rl.downstream.generator import ClipGenerator

_EVALUATION = 1_000_003  # in a key, so that no stream of the training is met again
_CELL = 12  # pixels that are averaged where clips are compared
_EVERY = 6  # frames

Columns = dict[str, list[list[float]]]  # by name, a row a prompt, a number a clip


@dataclass(frozen=True)
class Sample:
    """Clips of a generator, a row a prompt, and the same rendered."""

    clips: list[list[Made]]
    videos: list[list[Video]]

    def columns(self) -> Columns:
        """Return what is measured of each clip.

        anomalous: whether an anomaly is to be seen. motion: in frame diagonals a second. clean_motion: that of its
        clean twin, for what vanishes or jumps has no flow. things: the share of the things asked for that are there.
        pace: whether its tempo is the one asked for. still: whether it is still.
        """
        return {
            "anomalous": self._each(lambda clip: float(clip.is_anomalous)),
            "things": self._each(lambda clip: clip.things_there),
            "pace": self._each(lambda clip: float(clip.keeps_pace)),
            "still": self._each(lambda clip: float(clip.choices["tempo"] == "still")),
            "motion": [[round(motion(video), 6) for video in row] for row in self.videos],
            "clean_motion": self._each(lambda clip: round(motion(clip.clean_twin()), 6)),
            "difference": [[difference(row)] * len(row) for row in self.videos],
        }

    def leaves(self) -> dict[str, int]:
        """Count the anomalies that are to be seen, by leaf."""
        found = [leaf for row in self.clips for clip in row for leaf in clip.anomalies]
        return {leaf: found.count(leaf) for leaf in sorted(set(found))}

    def _each(self, number: Callable[[Made], float]) -> list[list[float]]:
        return [[number(clip) for clip in row] for row in self.clips]


def draw(generator: "ClipGenerator", prompts: int, each: int, seed: int) -> Sample:
    """Make `each` clips of some random prompts; the seed alone decides which prompts."""
    asked = [random_prompt(np.random.default_rng([seed, _EVALUATION, i])) for i in range(prompts)]
    clips = [generate(generator, [prompt] * each, Chance.of(seed, _EVALUATION, i)) for i, prompt in enumerate(asked)]
    return Sample(clips, [[clip.video() for clip in row] for row in clips])


def difference(videos: Sequence[Video]) -> float:
    """Return how much videos of one shape differ: mean distance of their pixels over all pairs, in [0, 1]."""
    small = [_thumbnails(video) for video in videos]
    return round(fmean(float(np.abs(a - b).mean()) for a, b in combinations(small, 2)), 6)


def _thumbnails(video: Video) -> np.ndarray:
    frames = video.frames[::_EVERY]
    count, height, width, _ = frames.shape
    cells = frames.reshape(count, height // _CELL, _CELL, width // _CELL, _CELL, 3)
    return cells.mean(axis=(2, 4)) / 255
