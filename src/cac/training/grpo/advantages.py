"""Advantages by turn: the part of a rollout's reward that each of its tokens is credited with.

A single advantage for the trajectory penalises a good scan for a bad look, and the reverse. Here the tokens of turn 1
are credited with the scan's windows and a share of the verdict, those of turn 2 with the final answer (windows, boxes,
attribution and verdict), each
normalised within its group as in GRPO (Shao et al. 2024, arXiv 2402.03300). Pure functions of tensors;
`grpo_trainer.py` has the trainer.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_EPSILON = 1e-4  # added to the standard deviation, as in TRL


def turn_weights(names: Sequence[str], weights: Mapping[str, float], verdict_share: float) -> list[tuple[float, float]]:
    """Return, for each reward component, its weight in turn 1 and in turn 2.

    Args:
        names: the components, in the trainer's order.
        weights: the weight of each in the whole reward.
        verdict_share: the share of the verdict's weight that turn 1 gets, in [0, 1].
    """
    shares = {
        "accuracy": (verdict_share, 1.0),
        "scan": (1.0, 0.0),
        "temporal_iou": (0.0, 1.0),
        "spatial_iou": (0.0, 1.0),
        "attribution": (0.0, 1.0),
        "format": (1.0, 1.0),
    }
    return [(weights[name] * shares[name][0], weights[name] * shares[name][1]) for name in names]


def group_advantages(rewards: "Tensor", generations: int, scale: str) -> "Tensor":
    """Return each reward less the mean of its group, divided by a standard deviation.

    Args:
        rewards: (rollouts,), each group of `generations` contiguous.
        generations: rollouts per prompt.
        scale: the standard deviation to divide by: of the "group", of the "batch", or "none".
    """
    groups = rewards.view(-1, generations)
    centred = groups - groups.mean(dim=1, keepdim=True)
    if scale == "group":
        centred = centred / (groups.std(dim=1, keepdim=True) + _EPSILON)
    if scale == "batch":
        centred = centred / (rewards.std() + _EPSILON)
    return centred.flatten()


def token_advantages(scan: "Tensor", look: "Tensor", tool_mask: "Tensor") -> "Tensor":
    """Spread the advantages of both turns over the tokens: (rollouts, tokens).

    Args:
        scan, look: (rollouts,), the advantages of turn 1 and turn 2.
        tool_mask: (rollouts, tokens), 0 on the tool's response and 1 elsewhere; tokens after the first 0 are turn 2.
    """
    after_tool = (tool_mask == 0).cumsum(dim=1) > 0
    return look.unsqueeze(1) * after_tool + scan.unsqueeze(1) * ~after_tool
