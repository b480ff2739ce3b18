"""Best-of-N: ranks several videos of one prompt.

Videos are ranked by the full reward including the motion penalty, so a video does not win by standing still. Out of
scope: whether a video follows its prompt, which the reward model does not judge.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cac.errors import CacError
from cac.rl.monitor import VideoReward
from cac.rl.reward import Rewarder, VideoInput

_DECIMALS = 6  # a video's score can differ in the eighth decimal with what it was batched with


@dataclass(frozen=True)
class Ranking:
    """Videos by reward.

    Attributes:
        order: their positions as given, the best first.
        rewarded: what each earns, in the order given.
    """

    order: tuple[int, ...]
    rewarded: tuple[VideoReward, ...]

    @property
    def best(self) -> int:
        """The position of the best."""
        return self.order[0]


def best_of_n(rewarder: Rewarder, videos: Sequence[VideoInput]) -> Ranking:
    """Rank the videos of one prompt; the rewarder's monitor does not see them.

    Raises:
        CacError: there is none, or as `Rewarder`.
    """
    if not videos:
        raise CacError("no video to choose from. Give best_of_n at least one.")
    rewarded = rewarder.evaluate(videos)
    return Ranking(rank([one.reward for one in rewarded]), tuple(rewarded))


def rank(rewards: Sequence[float]) -> tuple[int, ...]:
    """Return positions by falling reward; of rewards that are equal to six decimals the one given first comes first."""
    return tuple(sorted(range(len(rewards)), key=lambda i: -round(rewards[i], _DECIMALS)))
