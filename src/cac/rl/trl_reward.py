"""The reward with the signature that TRL's trainers call.

TRL (1.16, `GRPOTrainer._calculate_rewards`) calls a reward function with `prompts`, `completions` and
`completion_ids`, every other column of the dataset and field of a `rollout_func` as a list by its name, `environments`
if there is an `environment_factory`, and `log_extra` and `log_metric`; it wants a float or None for each completion.
Completions are text, so a source finds each rollout's video: a column or field, the environments, or a function that
makes a video of a completion. A reward is never None: TRL removes None from the group, which would make a rollout
without a video, or with an unparsed answer, better than a bad one.

TRL does not log a reward function whether it trains or evaluates, so the monitor sees evaluation rollouts too: give
evaluation a reward function of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cac.errors import CacError
from cac.rl.reward import Rewarder, VideoInput


@dataclass(frozen=True)
class Rollouts:
    """A batch as TRL hands it over: prompts and completions (text or messages), and everything else by its name."""

    prompts: Sequence[Any]
    completions: Sequence[Any]
    columns: Mapping[str, Any]


VideoSource = Callable[[Rollouts], Sequence[VideoInput]]


def from_column(name: str) -> VideoSource:
    """Videos are in a column of the dataset, or a field that a `rollout_func` returns: paths or `Video`s."""
    return lambda rollouts: _column(rollouts, name, "a column of the dataset or field of the rollout_func")


def from_environments(attribute: str = "video") -> VideoSource:
    """Videos are an attribute of the environments: a path, a `Video`, or None where the policy made none."""

    def videos(rollouts: Rollouts) -> Sequence[VideoInput]:
        environments = _column(rollouts, "environments", "GRPOTrainer's argument environment_factory")
        return [getattr(environment, attribute) for environment in environments]

    return videos


def from_completions(render: Callable[[Any, Any], VideoInput]) -> VideoSource:
    """Videos are made by `render(prompt, completion)`; None where the completion makes none."""
    return lambda rollouts: [
        render(prompt, completion) for prompt, completion in zip(rollouts.prompts, rollouts.completions, strict=True)
    ]


def _column(rollouts: Rollouts, name: str, origin: str) -> Sequence[Any]:
    if name not in rollouts.columns:
        there = ", ".join(sorted(rollouts.columns)) or "nothing"
        raise CacError(f"TRL gave the reward no {name!r} (it gave {there}); it comes from {origin}.")
    result: Sequence[Any] = rollouts.columns[name]
    return result


class AnomalyReward:
    """A reward function for `reward_funcs`; TRL logs it under this class's name.

    It logs each rollout's score, motion and whether the judge's answer was parsed beside the completions, and the
    monitor's statistics as metrics `cac/…`.
    """

    def __init__(self, rewarder: Rewarder, videos: VideoSource) -> None:
        self._rewarder = rewarder
        self._videos = videos

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Return each rollout's reward, in their order.

        Raises:
            CacError: the source finds no videos or not one a rollout, or as `Rewarder`.
        """
        videos = self._videos(Rollouts(prompts, completions, columns))
        if len(videos) != len(completions):
            raise CacError(f"{len(videos)} videos for {len(completions)} rollouts; give one each, None for none.")
        rewarded = self._rewarder(videos)
        if log_extra is not None:
            log_extra("cac_score", [one.score for one in rewarded])
            log_extra("cac_motion", [one.motion for one in rewarded])
            log_extra("cac_parsed", [one.parsed for one in rewarded])
        if log_metric is not None:
            for name, value in self._rewarder.monitor.metrics().items():
                log_metric(f"cac/{name}", value)
        return [one.reward for one in rewarded]
