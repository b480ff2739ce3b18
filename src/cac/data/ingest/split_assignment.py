"""Assign splits to a delivery's clips, and find those that cannot join a dataset.

The dataset's clips keep their splits. A new clip gets the split of the clips it is linked to, or else the one that
follows from its group's name. A clip that contradicts another, or links clips of different splits, is rejected with
the reason. Out of scope: merging (`versions/merge.py`).
"""

from collections import defaultdict
from collections.abc import Sequence

from cac.data.versions.conflicts import SourcedClip, contradictions
from cac.data.versions.groups import SplitRatios, assign_splits
from cac.errors import CacError
from cac.schema.annotations import Clip, Split
from cac.schema.linked_clips import group_clips

DATASET, DELIVERY = "dataset", "delivery"
Reasons = dict[int, list[str]]


def find_contradicting(dataset: Sequence[Clip], delivered: Sequence[Clip]) -> Reasons:
    """Return the delivered clips that contradict the dataset or one another, {index in `delivered`: reasons}.

    If delivered clips contradict one another, all of them are returned: a person must decide which is right.
    """
    found = [*(SourcedClip(DATASET, clip) for clip in dataset), *(SourcedClip(DELIVERY, clip) for clip in delivered)]
    indices = {id(clip): index for index, clip in enumerate(delivered)}
    reasons: Reasons = defaultdict(list)
    for one in contradictions(found):
        for side in one.sides:
            others = ", ".join(other[0].name for other in one.sides if other is not side)
            for member in side:
                if member.source == DELIVERY:
                    reasons[indices[id(member.clip)]].append(f"{one.problem} as {others}")
    return reasons


def assign_new_splits(
    dataset: Sequence[Clip], delivered: Sequence[Clip], ratios: SplitRatios
) -> tuple[list[Clip], Reasons]:
    """Return the delivered clips with their splits, and {index in `delivered`: reasons} of those without one.

    All clips are returned, in order; ignore the split of a clip that has reasons.
    """
    assigned = list(delivered)
    reasons: Reasons = defaultdict(list)
    for group in group_clips([*dataset, *delivered]):
        new = [index - len(dataset) for index in group if index >= len(dataset)]
        existing = [dataset[index].split for index in group if index < len(dataset)]
        if not new:
            continue
        try:
            clips = _assign_group([delivered[index] for index in new], sorted(set(existing)), ratios)
        except CacError as error:
            for index in new:
                reasons[index].append(str(error))
        else:
            for index, clip in zip(new, clips, strict=True):
                assigned[index] = clip
    return assigned, reasons


def _assign_group(new: list[Clip], existing: list[Split], ratios: SplitRatios) -> list[Clip]:
    if len(existing) > 1:
        raise CacError(f"links clips that the dataset has in different splits: {', '.join(existing)}")
    if existing:
        return [clip.model_copy(update={"split": existing[0]}) for clip in new]
    return assign_splits(new, ratios)
