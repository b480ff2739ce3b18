"""The rewards of two-turn GRPO: pure functions of a rollout and the truth, each in a stated range.

A rollout is a `Judgement`; the truth is a `Clip`. Localisation rewards are None on clean clips, where there is nothing
to localise (TRL skips None in its statistics), and wherever nobody knows the truth: the spatial one on clips without
boxes, those of time on clips with an anomaly without a window.
`params.yaml` has the weights. All but one reward the final answer; that one rewards the scan for what it is for: to
show the anomaly to the second look. The shapes prevent the published ways of reward hacking: a scan that covers more
than it needs earns less (a plain recall rewards wide windows), boxes are averaged over all true boxes (not only those
at frames the model answered), false alarms cost more than misses, because only anomalous clips have boxes and leaves to
be rewarded for, and an answer that cannot be parsed never earns more than one that can.
"""

from collections.abc import Callable, Sequence

from cac.params import Grpo
from cac.schema.annotations import Clip
from cac.schema.geometry import Window, overlap_length, total_length
from cac.schema.iou import spatial_ious, window_iou
from cac.schema.judgement import Judgement

SCAN = "scan"  # the one reward that is not of the final answer
FREE_WIDTH = 2.0  # times the length of the true windows

Reward = Callable[[Judgement, Clip], float | None]


def accuracy_reward(judgement: Judgement, clip: Clip, false_alarm: float) -> float:
    """1 for the right verdict, 0 for a miss, `false_alarm` (<= 0) for a false alarm.

    An unparsable answer earns what the wrong verdict does: else a policy that suspects a clean clip would gain by
    garbling its answer.
    """
    if judgement.parsed and (judgement.verdict == "clean") == clip.is_clean:
        return 1.0
    return false_alarm if clip.is_clean else 0.0


def temporal_reward(judgement: Judgement, clip: Clip) -> float | None:
    """Temporal IoU of the final and the true windows, in [0, 1]; None if there are none, or not all are known."""
    return window_iou(judgement, clip)


def scan_reward(scan_windows: Sequence[Window], clip: Clip) -> float | None:
    """Share of the true windows that the scan's windows cover, in [0, 1]; None if there are none, or not all known.

    Windows up to `FREE_WIDTH` times as long as the true ones cost nothing: the second look narrows them. Beyond that
    the share shrinks in proportion, so the whole clip earns no more than a small part.
    """
    if clip.is_clean or not clip.has_all_windows:
        return None
    needed, width = total_length(clip.windows), total_length(scan_windows)
    if not width:
        return 0.0
    return overlap_length(scan_windows, clip.windows) / needed * min(1.0, FREE_WIDTH * needed / width)


def spatial_reward(judgement: Judgement, clip: Clip) -> float | None:
    """Mean box IoU over all true boxes, in [0, 1]; None for a clip without boxes: nobody knows where to look."""
    ious = spatial_ious(judgement, clip)
    return sum(ious) / len(ious) if ious else None


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
    """Return the weighted sum of the rewards of the final answer; a reward that is None counts 0.

    The scan's own reward is not part of it, so methods with one look and with two can be compared. Which rewards are
    None depends on the clip alone, so answers about one clip are ranked by what is known of it; totals of clips with
    and without boxes have other maxima.
    """
    weights = settings.reward_weights.model_dump()
    values = {name: reward(judgement, clip) for name, reward in reward_functions(settings).items() if name != SCAN}
    result: float = sum(weights[name] * value for name, value in values.items() if value is not None)
    return result


def reward_functions(settings: Grpo) -> dict[str, Reward]:
    """Return every reward component by its name in `params.yaml`."""
    return {
        "accuracy": lambda judgement, clip: accuracy_reward(judgement, clip, settings.false_alarm_reward),
        SCAN: lambda judgement, clip: scan_reward(judgement.scan_windows, clip),
        "temporal_iou": temporal_reward,
        "spatial_iou": spatial_reward,
        "attribution": attribution_reward,
        "format": format_reward,
    }
