"""Policy gradient for the generator: GRPO (Shao et al. 2024, arXiv 2402.03300), where a rollout is one clip.

The advantage of a clip is its reward minus the mean reward of the clips of the same prompt. Every batch is used for one
step, so the ratio of new to old probability is 1 and clipping is not needed. The divergence from the untrained
generator is computed exactly instead of estimated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from cac.errors import CacError
from cac.rl.downstream.clips import GeneratedClip, make_clip
from cac.rl.downstream.prompts import Prompt, random_prompt

if TYPE_CHECKING:
    import torch

    from cac.rl.downstream.generator import ClipGenerator

REWARD = "reward"
Rewards = Mapping[str, Sequence[float]]  # one number per clip; `REWARD` is maximised, the others are logged
RewardFunction = Callable[[Sequence[GeneratedClip]], Rewards]
History = list[dict[str, float]]


@dataclass(frozen=True)
class Training:
    """Training settings of the generator.

    Attributes:
        updates: number of steps, each on a new batch.
        prompts, group: prompts per step, and clips per prompt.
        learning_rate: of Adam.
        divergence_weight: weight of the KL divergence from the untrained generator.
    """

    updates: int = 14
    prompts: int = 6
    group: int = 8
    learning_rate: float = 0.03
    divergence_weight: float = 0.15

    def __post_init__(self) -> None:
        if min(self.updates, self.prompts) < 1 or self.group < 2:
            raise CacError(f"{self}: needs at least one update, one prompt, and two clips per group.")


@dataclass(frozen=True)
class RandomStreams:
    """All randomness of a run, as two independent streams."""

    noise: np.random.Generator
    decisions: "torch.Generator"

    @classmethod
    def of(cls, *key: int) -> "RandomStreams":
        """Start the streams of a seed key."""
        import torch

        seed = int(np.random.SeedSequence(key).generate_state(1)[0])
        return cls(np.random.default_rng([*key, 1]), torch.Generator().manual_seed(seed))


def generate(generator: "ClipGenerator", prompts: Sequence[Prompt], streams: RandomStreams) -> list[GeneratedClip]:
    """Generate a clip for each prompt."""
    decided = generator.sample(prompts, streams.decisions)
    return [make_clip(prompt, one, streams.noise) for prompt, one in zip(prompts, decided, strict=True)]


def train_generator(
    generator: "ClipGenerator",
    reward: RewardFunction,
    training: Training,
    streams: RandomStreams,
    log: Callable[[dict[str, float]], None] | None = None,
) -> History:
    """Train a generator in place and return its history, one entry per update; `log` is called with each entry.

    An entry holds means over the clips of the update: of the rewards, and of the true anomaly rate.
    """
    import torch

    optimizer = torch.optim.Adam(generator.parameters(), lr=training.learning_rate)
    history: History = []
    for step in range(training.updates):
        asked = [random_prompt(streams.noise) for _ in range(training.prompts)]
        clips = generate(generator, [prompt for prompt in asked for _ in range(training.group)], streams)
        rewards = reward(clips)
        divergence = _update(generator, optimizer, clips, rewards[REWARD], training)
        history.append({"step": step + 1, **_means(clips, rewards), "divergence": divergence})
        if log:
            log(history[-1])
    return history


def _update(
    generator: "ClipGenerator",
    optimizer: "torch.optim.Optimizer",
    clips: Sequence[GeneratedClip],
    rewards: Sequence[float],
    training: Training,
) -> float:
    """Take one step and return the divergence before it."""
    import torch

    from cac.training.grpo.advantages import group_advantages

    prompts = [clip.prompt for clip in clips]
    advantages = group_advantages(torch.tensor(rewards), training.group, "batch")
    gain = (advantages * generator.log_prob(prompts, [clip.choices for clip in clips])).mean()
    divergence = generator.divergence(prompts).mean()
    optimizer.zero_grad()
    (training.divergence_weight * divergence - gain).backward()
    optimizer.step()
    return round(float(divergence.detach()), 6)


def _means(clips: Sequence[GeneratedClip], rewards: Rewards) -> dict[str, float]:
    given = {name: round(fmean(values), 6) for name, values in rewards.items()}
    return {**given, "anomalous": fmean(clip.is_anomalous for clip in clips)}
