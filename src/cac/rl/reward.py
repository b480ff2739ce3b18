"""The reward of a video: how likely it is clean, less a penalty for standing still or for moving too much.

    reward = score_weight × score − motion_weight × penalty
    penalty = max(0, 1 − motion / motion_reference, min(1, motion / motion_ceiling − 1))

`score` in [0, 1] is the reward model's calibrated probability that the video is clean, and 0 if its answer can't be
parsed. `motion` is that of `motion.py`. Between the reference and the ceiling a video gets its plain score. A still
video and one of twice the ceiling get the whole penalty. So the reward lies in [−motion_weight, score_weight].

The floor keeps a generator from standing still, which a judge of anomalies does not object to. The ceiling is for a
generator that should move as much as before: with a penalty on one side only, it drifts to the other.

An unparsed answer counts as a certain anomaly, not as the even chance at which the model abstains: otherwise a
generator could gain by confusing its judge. Skipping such videos would also reward it, compared with bad videos.

Each trainer's signature has its own module. Out of scope: whether a video follows its prompt, which is not judged.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cac.errors import CacError
from cac.registry.pinned import PinnedModel
from cac.rl.monitor import Monitor, MonitorSettings, VideoReward
from cac.schema.judgement import Judgement
from cac.video.decode import AnyVideo, Video, VideoFile, VideoSegment, open_video
from cac.video.motion import mean_motion

UNPARSED_SCORE = 0.0
BAND = (0.45, 1.5)  # of usual motion; other bounds were measured: docs/how-to/improve-a-generator.md

VideoInput = AnyVideo | Path | str | None


@dataclass(frozen=True)
class RewardSettings:
    """What the reward weighs; the formula is in the module's docstring.

    Attributes:
        motion_reference: the amount of motion that is enough, in frame diagonals a second. It has no default because
            every generator has its own.
        score_weight: of the score, > 0.
        motion_weight: of the penalty, >= 0. From `score_weight` upwards no still video is better than any video that
            moves as it should.
        motion_ceiling: the motion above which the penalty starts, at least the reference; by default infinite.
    """

    motion_reference: float
    score_weight: float = 1.0
    motion_weight: float = 1.0
    motion_ceiling: float = math.inf

    def __post_init__(self) -> None:
        values = (self.motion_reference, self.score_weight, self.motion_weight)
        if not np.isfinite(values).all() or min(values[:2]) <= 0 or self.motion_weight < 0:
            raise CacError(
                f"motion_reference {values[0]}, score_weight {values[1]}, motion_weight {values[2]}: all must be "
                "finite, the first two above 0, the last not below 0."
            )
        if not self.motion_ceiling >= self.motion_reference:
            raise CacError(f"motion_ceiling {self.motion_ceiling} must be at least motion_reference {values[0]}.")

    @classmethod
    def around(cls, usual: float, motion_weight: float = 1.0) -> "RewardSettings":
        """Return settings for a generator that should keep its motion: a penalty below and above `BAND` of the usual.

        Args:
            usual: `reference_motion` of the untrained generator's videos.
            motion_weight: as above.
        """
        floor, ceiling = (share * usual for share in BAND)
        return cls(floor, motion_weight=motion_weight, motion_ceiling=ceiling)


def combined_reward(score: float, motion: float, settings: RewardSettings) -> float:
    """Return the reward of a score in [0, 1] and a motion; see the module's docstring."""
    too_little = 1.0 - motion / settings.motion_reference
    too_much = min(1.0, motion / settings.motion_ceiling - 1.0)
    return settings.score_weight * score - settings.motion_weight * max(0.0, too_little, too_much)


class Rewarder:
    """Rewards videos, and watches what it gives for signs of hacking; every hook of this package is built on it.

    Calls from several threads at once wait for each other, as Flow-GRPO's come from a thread pool.
    """

    def __init__(
        self,
        pinned: PinnedModel,
        settings: RewardSettings,
        *,
        watch: MonitorSettings | None = None,
        batch_size: int = 8,
    ) -> None:
        """Take the model and the weights; `watch` None is `MonitorSettings()`."""
        self.pinned = pinned
        self.settings = settings
        self.monitor = Monitor(settings.motion_reference, watch or MonitorSettings())
        self._batch_size = batch_size
        self._lock = threading.Lock()

    def __call__(self, videos: Sequence[VideoInput]) -> list[VideoReward]:
        """Reward the videos of a training step, in their order, and let the monitor see them.

        A video is decoded frames or a file's path; None, where a rollout made no video, earns the least there is.

        Raises:
            CacError: a file is missing or no video, or frames are of the wrong shape or type.
        """
        with self._lock:
            rewarded = self._reward(videos)
            self.monitor.observe(rewarded)
        return rewarded

    def evaluate(self, videos: Sequence[VideoInput]) -> list[VideoReward]:
        """Do the same for videos that are not the training's: evaluation, best-of-N. The monitor sees nothing."""
        with self._lock:
            return self._reward(videos)

    def _reward(self, videos: Sequence[VideoInput]) -> list[VideoReward]:
        size = self._batch_size
        batches = (videos[start : start + size] for start in range(0, len(videos), size))
        return [rewarded for batch in batches for rewarded in self._reward_batch(batch)]

    def _reward_batch(self, videos: Sequence[VideoInput]) -> list[VideoReward]:
        decoded = [None if video is None else _decoded(video) for video in videos]
        there = [video for video in decoded if video is not None]
        judged = iter(self.pinned.judge(there, self._batch_size) if there else [])
        return [self._nothing() if video is None else self._rewarded(video, *next(judged)) for video in decoded]

    def _rewarded(self, video: AnyVideo, score: float, judgement: Judgement) -> VideoReward:
        counted = score if judgement.parsed else UNPARSED_SCORE
        moved = mean_motion(video)
        return VideoReward(combined_reward(counted, moved, self.settings), counted, moved, judgement)

    def _nothing(self) -> VideoReward:
        return VideoReward(combined_reward(UNPARSED_SCORE, 0.0, self.settings), UNPARSED_SCORE, 0.0, None)


def _decoded(video: AnyVideo | Path | str) -> AnyVideo:
    if isinstance(video, VideoFile | VideoSegment):
        return video
    if not isinstance(video, Video):
        return open_video(video)
    frames = video.frames
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise CacError(
            f"a video's frames are {frames.dtype} of shape {frames.shape}; give uint8 of (frames, height, width, 3)."
        )
    if not (np.isfinite(video.fps) and video.fps > 0):
        raise CacError(f"a video's frame rate is {video.fps}; give frames a second, above 0.")
    return video
