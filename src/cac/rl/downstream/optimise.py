"""Policy gradient for the generator: GRPO (Shao et al. 2024, arXiv 2402.03300) where a rollout is one clip.

A clip's advantage is its reward less the mean of the clips of the same prompt. Every batch is used for one step, so
the ratio of new to old probability is 1 and nothing is ever clipped; that part is left out. The divergence from the
untrained generator is taken exactly instead of estimated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from cac.errors import CacError
from cac.rl.downstream.clips import Made, make
from cac.rl.downstream.prompts import Prompt, random_prompt

if TYPE_CHECKING:
    import torch

    from cac.rl.downstream.generator import ClipGenerator

REWARD = "reward"
Rewards = Mapping[str, Sequence[float]]  # a number a clip; `REWARD` is what is maximised, the others are logged
RewardFunction = Callable[[Sequence[Made]], Rewards]
History = list[dict[str, float]]


@dataclass(frozen=True)
class Training:
    """How the generator is trained.

    Attributes:
        updates: steps, each on a batch of its own.
        prompts, group: a step's prompts, and clips of each.
        learning_rate: Adam's.
        divergence_weight: of staying near the untrained generator, in rewards' spreads.
    """

    updates: int = 14
    prompts: int = 6
    group: int = 8
    learning_rate: float = 0.03
    divergence_weight: float = 0.15

    def __post_init__(self) -> None:
        if min(self.updates, self.prompts) < 1 or self.group < 2:
            raise CacError(f"{self}: at least one update of one prompt, and a group of two clips.")


@dataclass(frozen=True)
class Chance:
    """All randomness of a run, in two streams that depend on nothing else."""

    noise: np.random.Generator
    decisions: "torch.Generator"

    @classmethod
    def of(cls, *key: int) -> "Chance":
        """Begin the streams of a key."""
        import torch

        seed = int(np.random.SeedSequence(key).generate_state(1)[0])
        return cls(np.random.default_rng([*key, 1]), torch.Generator().manual_seed(seed))


def generate(generator: "ClipGenerator", prompts: Sequence[Prompt], chance: Chance) -> list[Made]:
    """Make a clip of each prompt."""
    decided = generator.sample(prompts, chance.decisions)
    return [make(prompt, one, chance.noise) for prompt, one in zip(prompts, decided, strict=True)]


def optimise(
    generator: "ClipGenerator",
    reward: RewardFunction,
    training: Training,
    chance: Chance,
    tell: Callable[[dict[str, float]], None] | None = None,
) -> History:
    """Train a generator in place and return what happened, one entry an update; `tell` gets each as it comes.

    An entry holds the means over the update's clips: of what the reward function gave, and of the truth.
    """
    import torch

    optimizer = torch.optim.Adam(generator.parameters(), lr=training.learning_rate)
    history: History = []
    for step in range(training.updates):
        asked = [random_prompt(chance.noise) for _ in range(training.prompts)]
        clips = generate(generator, [prompt for prompt in asked for _ in range(training.group)], chance)
        rewards = reward(clips)
        divergence = _update(generator, optimizer, clips, rewards[REWARD], training)
        history.append({"step": step + 1, **_means(clips, rewards), "divergence": divergence})
        if tell:
            tell(history[-1])
    return history


def _update(
    generator: "ClipGenerator",
    optimizer: "torch.optim.Optimizer",
    clips: Sequence[Made],
    rewards: Sequence[float],
    training: Training,
) -> float:
    """Take one step and return the divergence before it."""
    import torch

    from cac.training.advantages import group_advantages

    prompts = [clip.prompt for clip in clips]
    advantages = group_advantages(torch.tensor(rewards), training.group, "batch")
    gain = (advantages * generator.log_prob(prompts, [clip.choices for clip in clips])).mean()
    divergence = generator.divergence(prompts).mean()
    optimizer.zero_grad()
    (training.divergence_weight * divergence - gain).backward()
    optimizer.step()
    return round(float(divergence.detach()), 6)


def _means(clips: Sequence[Made], rewards: Rewards) -> dict[str, float]:
    given = {name: round(fmean(values), 6) for name, values in rewards.items()}
    return {**given, "anomalous": fmean(clip.is_anomalous for clip in clips)}
