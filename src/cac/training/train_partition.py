"""Splits the training clips between the supervised stages and GRPO.

Rewards on clips that a policy has memorised say little about its errors on others, so GRPO can have clips that no
supervised stage has seen. Linked clips stay together: the hash of their group's name decides, so a group stays on its
side when the dataset grows. A group of several names is for GRPO only if each of them is.
"""

import hashlib
from collections.abc import Sequence

from cac.errors import CacError
from cac.params import TrainPartition
from cac.schema.annotations import Clip
from cac.schema.linked_clips import group_clips, group_key


def sft_clips(clips: Sequence[Clip], partition: TrainPartition) -> list[Clip]:
    """Return the training clips of the supervised stages, in their order.

    Raises:
        CacError: there are none.
    """
    reserved = _reserved(clips, partition)
    chosen = [clip for index, clip in enumerate(clips) if index not in reserved]
    return _require_clips(chosen, "supervised learning", partition)


def grpo_clips(clips: Sequence[Clip], partition: TrainPartition) -> list[Clip]:
    """Return the training clips of GRPO, in their order: those reserved for it, or all with a ratio of 0.

    Raises:
        CacError: the ratio is so small that there are none.
    """
    reserved = _reserved(clips, partition) if partition.reinforcement_ratio else range(len(clips))
    chosen = [clip for index, clip in enumerate(clips) if index in reserved]
    return _require_clips(chosen, "reinforcement", partition)


def _reserved(clips: Sequence[Clip], partition: TrainPartition) -> set[int]:
    """Return the indices of the clips that are reserved for GRPO."""
    groups = group_clips(clips)
    return {i for group in groups if all(_is_for_grpo(group_key(clips[j]), partition) for j in group) for i in group}


def _is_for_grpo(key: str, partition: TrainPartition) -> bool:
    digest = hashlib.sha256(f"reinforcement {key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < partition.reinforcement_ratio


def _require_clips(clips: list[Clip], purpose: str, partition: TrainPartition) -> list[Clip]:
    if clips:
        return clips
    raise CacError(
        f"train_partition.reinforcement_ratio {partition.reinforcement_ratio} leaves no train clip for {purpose}. "
        "Change it, or give the dataset more training clips."
    )
