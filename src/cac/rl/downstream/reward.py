"""The reward model as the generator's reward, through `cac.rl.diffusion_reward`, as a diffusion trainer would call it.

Slow and fast clips have different usual motion, so there is one rewarder for each pace. Both share one pinned model.
The true anomalies of a clip are not used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cac.registry.pinned import PinnedModel
from cac.rl.diffusion_reward import DiffusionReward
from cac.rl.downstream.clips import FPS, GeneratedClip
from cac.rl.downstream.grpo import REWARD, RandomStreams, Rewards, generate
from cac.rl.downstream.prompts import PACES, Pace, random_prompt
from cac.rl.monitor import MonitorSettings
from cac.rl.reward import Rewarder, RewardSettings
from cac.video.decode import Video
from cac.video.motion import reference_motion

if TYPE_CHECKING:
    from torch import Tensor

SUSPECTED = "hacking_suspected"
_BATCH_SIZE = 16
_WINDOW = 96  # clips of one pace, about four updates
_NAMES = {"avg": REWARD, "cac_score": "score", "cac_motion": "motion"}


class DownstreamReward:
    """The reward function of `train_generator`; it returns `REWARD`, score, motion, and the monitor's flag."""

    def __init__(self, pinned: PinnedModel, usual: Mapping[Pace, float], motion_weight: float) -> None:
        watch = MonitorSettings(window=_WINDOW)
        self._rewarders = {
            pace: Rewarder(pinned, RewardSettings.around(motion, motion_weight), watch=watch, batch_size=_BATCH_SIZE)
            for pace, motion in usual.items()
        }

    def __call__(self, clips: Sequence[GeneratedClip]) -> Rewards:
        """Reward the clips of an update and pass them to the monitors."""
        columns = {name: [0.0] * len(clips) for name in _NAMES.values()}
        for pace, indices in _by_pace(clips).items():
            reward = DiffusionReward(self._rewarders[pace], FPS)
            chosen = [clips[i] for i in indices]
            scores, _ = reward.flow_grpo(pixels([clip.video() for clip in chosen]), [str(c.prompt) for c in chosen])
            for given, name in _NAMES.items():
                for i, value in zip(indices, scores[given].tolist(), strict=True):
                    columns[name][i] = value
        return {**columns, SUSPECTED: [float(self.hacking_suspected)] * len(clips)}

    @property
    def hacking_suspected(self) -> bool:
        """Whether a monitor suspects reward hacking."""
        return any(rewarder.monitor.hacking_suspected for rewarder in self._rewarders.values())

    def evaluate(self, clips: Sequence[GeneratedClip], videos: Sequence[Video]) -> list[float]:
        """Return the rewards of clips outside training, which the monitors ignore; `videos` are the rendered clips."""
        rewards = [0.0] * len(clips)
        for pace, indices in _by_pace(clips).items():
            given = self._rewarders[pace].evaluate([videos[i] for i in indices])
            for i, one in zip(indices, given, strict=True):
                rewards[i] = one.reward
        return rewards


def _by_pace(clips: Sequence[GeneratedClip]) -> dict[Pace, list[int]]:
    """Return the indices of the clips by the pace of their prompt, for each pace that occurs."""
    indices = {pace: [i for i, clip in enumerate(clips) if clip.prompt.pace == pace] for pace in PACES}
    return {pace: found for pace, found in indices.items() if found}


def pixels(videos: Sequence[Video]) -> "Tensor":
    """Return videos as a diffusion pipeline does: floats in [0, 1], shape (videos, frames, 3, height, width)."""
    import torch

    return torch.from_numpy(np.stack([video.frames for video in videos])).permute(0, 1, 4, 2, 3).float() / 255


def usual_motions(count: int, seed: int) -> dict[Pace, float]:
    """Return the usual motion of each pace: the median of `count` clips of the untrained generator."""
    from cac.rl.downstream.generator import ClipGenerator

    usual: dict[Pace, float] = {}
    for number, pace in enumerate(PACES):
        streams = RandomStreams.of(seed, number)
        prompts = [replace(random_prompt(streams.noise), pace=pace) for _ in range(count)]
        clips = generate(ClipGenerator(seed), prompts, streams)
        usual[pace] = round(reference_motion([clip.video() for clip in clips]), 6)
    return usual
