"""Which training clips a stage learns from: reinforcement can have some that no supervised stage has seen.

Rewards on clips that a stage knows by heart say little about its mistakes on others. A pair is kept apart by a hash of
its name, so it stays where it is when the dataset grows.
"""

import hashlib
from collections.abc import Sequence

from cac.errors import CacError
from cac.params import TrainPartition
from cac.schema.annotations import Clip


def sft_clips(clips: Sequence[Clip], partition: TrainPartition) -> list[Clip]:
    """Return the training clips of the supervised stages, in their order.

    Raises:
        CacError: none is left for them.
    """
    return _some([clip for clip in clips if not _is_kept(clip, partition)], "supervised learning", partition)


def grpo_clips(clips: Sequence[Clip], partition: TrainPartition) -> list[Clip]:
    """Return the training clips of reinforcement, in their order: those kept for it, or all if none are.

    Raises:
        CacError: so few are kept that there is none.
    """
    kept = [clip for clip in clips if not partition.reinforcement_ratio or _is_kept(clip, partition)]
    return _some(kept, "reinforcement", partition)


def _is_kept(clip: Clip, partition: TrainPartition) -> bool:
    place = int.from_bytes(hashlib.sha256(f"reinforcement {clip.pair_id}".encode()).digest()[:8], "big") / 2**64
    return place < partition.reinforcement_ratio


def _some(clips: list[Clip], purpose: str, partition: TrainPartition) -> list[Clip]:
    if clips:
        return clips
    raise CacError(
        f"train_partition.reinforcement_ratio {partition.reinforcement_ratio} leaves no train clip for {purpose}. "
        "Change it, or give the dataset more training clips."
    )
