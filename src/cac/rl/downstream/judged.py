"""The reward model as the generator's reward: through `cac.rl.diffusion_reward`, as a diffusion trainer would call it.

Slow and fast clips have a usual motion each, for what is enough of a slow clip is little of a fast one; so there are
two rewarders, which share one pinned model. The truth, which a clip knows, is not looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cac.registry.pinned import PinnedModel
from cac.rl.diffusion_reward import DiffusionReward
from cac.rl.downstream.clips import FPS, Made
from cac.rl.downstream.optimise import REWARD, Chance, Rewards, generate
from cac.rl.downstream.prompts import PACES, Pace, random_prompt
from cac.rl.monitor import MonitorSettings
from cac.rl.reward import Rewarder, RewardSettings
from cac.video.decode import Video
from cac.video.motion import reference_motion

if TYPE_CHECKING:
    from torch import Tensor

SUSPECTED = "hacking_suspected"
_BATCH_SIZE = 16
_WINDOW = 96  # clips of one pace: about four updates
_NAMES = {"avg": REWARD, "cac_score": "score", "cac_motion": "motion"}


class Judge:
    """A reward function for `optimise`; what it gives is `REWARD`, score, motion, and the monitor's flag."""

    def __init__(self, pinned: PinnedModel, usual: Mapping[Pace, float], motion_weight: float) -> None:
        watch = MonitorSettings(window=_WINDOW)
        self._rewarders = {
            pace: Rewarder(pinned, RewardSettings.around(motion, motion_weight), watch=watch, batch_size=_BATCH_SIZE)
            for pace, motion in usual.items()
        }

    def __call__(self, clips: Sequence[Made]) -> Rewards:
        """Reward the clips of an update; the monitors see them."""
        columns = {name: [0.0] * len(clips) for name in _NAMES.values()}
        for pace, places in _by_pace(clips).items():
            reward = DiffusionReward(self._rewarders[pace], FPS)
            chosen = [clips[i] for i in places]
            scores, _ = reward.flow_grpo(pixels([clip.video() for clip in chosen]), [str(c.prompt) for c in chosen])
            for given, name in _NAMES.items():
                for i, value in zip(places, scores[given].tolist(), strict=True):
                    columns[name][i] = value
        return {**columns, SUSPECTED: [float(self.hacking_suspected)] * len(clips)}

    @property
    def hacking_suspected(self) -> bool:
        """Whether a monitor's flag is up."""
        return any(rewarder.monitor.hacking_suspected for rewarder in self._rewarders.values())

    def without_record(self, clips: Sequence[Made], videos: Sequence[Video]) -> list[float]:
        """Return the rewards of clips that are not the training's; `videos` are the clips rendered."""
        rewards = [0.0] * len(clips)
        for pace, places in _by_pace(clips).items():
            given = self._rewarders[pace].without_record([videos[i] for i in places])
            for i, one in zip(places, given, strict=True):
                rewards[i] = one.reward
        return rewards


def _by_pace(clips: Sequence[Made]) -> dict[Pace, list[int]]:
    """Return the positions of the clips of each pace asked for, where there are any."""
    places = {pace: [i for i, clip in enumerate(clips) if clip.prompt.pace == pace] for pace in PACES}
    return {pace: found for pace, found in places.items() if found}


def pixels(videos: Sequence[Video]) -> "Tensor":
    """Return videos of one shape as a diffusion pipeline does: floats in [0, 1], (videos, frames, 3, height, width)."""
    import torch

    return torch.from_numpy(np.stack([video.frames for video in videos])).permute(0, 1, 4, 2, 3).float() / 255


def usual_motions(count: int, seed: int) -> dict[Pace, float]:
    """Return how much clips of each pace usually move: the median of `count` untrained ones."""
    from cac.rl.downstream.generator import ClipGenerator

    usual: dict[Pace, float] = {}
    for number, pace in enumerate(PACES):
        chance = Chance.of(seed, number)
        prompts = [replace(random_prompt(chance.noise), pace=pace) for _ in range(count)]
        clips = generate(ClipGenerator(seed), prompts, chance)
        usual[pace] = round(reference_motion([clip.video() for clip in clips]), 6)
    return usual
