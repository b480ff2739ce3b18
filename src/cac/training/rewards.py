"""The rewards of two-turn GRPO: pure functions of a rollout and the truth, each in a stated range.

A rollout is a `Judgement`; the truth is a `Clip`. Localisation rewards are None on clean clips, where there is nothing
to localise (TRL skips None in its statistics). `params.yaml` has the weights. The shapes prevent the published ways of
reward hacking: no recall-type window reward (it rewards wide windows), boxes averaged over all true boxes (not only
those at frames the model answered), and false alarms cost more than misses, because only anomalous clips have boxes and
leaves to be rewarded for.
"""

from collections.abc import Callable

from cac.params import Grpo
from cac.schema.annotations import Clip
from cac.schema.geometry import temporal_iou
from cac.schema.iou import spatial_ious
from cac.schema.judgement import Judgement

Reward = Callable[[Judgement, Clip], float | None]


def accuracy_reward(judgement: Judgement, clip: Clip, false_alarm: float) -> float:
    """1 for the right verdict, 0 for a miss or an unparsable answer, `false_alarm` (<= 0) for a false alarm."""
    if not judgement.parsed:
        return 0.0
    if (judgement.verdict == "clean") == clip.is_clean:
        return 1.0
    return false_alarm if clip.is_clean else 0.0


def temporal_reward(judgement: Judgement, clip: Clip) -> float | None:
    """Temporal IoU of the scan's windows and the true windows, in [0, 1]; None on a clean clip."""
    if clip.is_clean:
        return None
    return temporal_iou(judgement.windows, clip.windows)


def spatial_reward(judgement: Judgement, clip: Clip) -> float | None:
    """Mean box IoU over all true boxes, in [0, 1]; 0 for a clip without boxes, None on a clean clip."""
    if clip.is_clean:
        return None
    ious = spatial_ious(judgement, clip)
    return sum(ious) / len(ious) if ious else 0.0


def attribution_reward(judgement: Judgement, clip: Clip) -> float | None:
    """1 for the right leaf, 0.4 for the right family only, 0 otherwise; None on a clean clip."""
    if clip.is_clean:
        return None
    if judgement.leaf in {anomaly.leaf for anomaly in clip.anomalies}:
        return 1.0
    return 0.4 if judgement.family in {anomaly.family for anomaly in clip.anomalies} else 0.0


def format_reward(judgement: Judgement, clip: Clip) -> float:
    """1 if both turns follow the grammar, else 0."""
    return float(judgement.parsed)


def total_reward(judgement: Judgement, clip: Clip, settings: Grpo) -> float:
    """Return the weighted sum of the components; those that are None count 0."""
    weights = settings.reward_weights.model_dump()
    values = {name: reward(judgement, clip) for name, reward in reward_functions(settings).items()}
    result: float = sum(weights[name] * value for name, value in values.items() if value is not None)
    return result


def reward_functions(settings: Grpo) -> dict[str, Reward]:
    """Return every reward component by its name in `params.yaml`."""
    return {
        "accuracy": lambda judgement, clip: accuracy_reward(judgement, clip, settings.false_alarm_reward),
        "temporal_iou": temporal_reward,
        "spatial_iou": spatial_reward,
        "attribution": attribution_reward,
        "format": format_reward,
    }
