"""Splits the training clips between the supervised stages and GRPO.

Rewards on clips that a policy has memorised say little about its errors on others, so GRPO can have clips that no
supervised stage has seen. The hash of a pair's id decides its side, so it stays there when the dataset grows.
"""

import hashlib
from collections.abc import Sequence

from cac.errors import CacError
from cac.params import TrainPartition
from cac.schema.annotations import Clip


def sft_clips(clips: Sequence[Clip], partition: TrainPartition) -> list[Clip]:
    """Return the training clips of the supervised stages, in their order.

    Raises:
        CacError: there are none.
    """
    return _require_clips(
        [clip for clip in clips if not _is_for_grpo(clip, partition)], "supervised learning", partition
    )


def grpo_clips(clips: Sequence[Clip], partition: TrainPartition) -> list[Clip]:
    """Return the training clips of GRPO, in their order: those reserved for it, or all with a ratio of 0.

    Raises:
        CacError: the ratio is so small that there are none.
    """
    chosen = [clip for clip in clips if not partition.reinforcement_ratio or _is_for_grpo(clip, partition)]
    return _require_clips(chosen, "reinforcement", partition)


def _is_for_grpo(clip: Clip, partition: TrainPartition) -> bool:
    digest = hashlib.sha256(f"reinforcement {clip.pair_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < partition.reinforcement_ratio


def _require_clips(clips: list[Clip], purpose: str, partition: TrainPartition) -> list[Clip]:
    if clips:
        return clips
    raise CacError(
        f"train_partition.reinforcement_ratio {partition.reinforcement_ratio} leaves no train clip for {purpose}. "
        "Change it, or give the dataset more training clips."
    )
