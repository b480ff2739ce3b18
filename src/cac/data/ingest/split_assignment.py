"""Which of a delivery's clips can join a dataset, and the split each of them gets.

What is in the dataset stays as it is: a new clip takes the split of the clips it is linked to, or else the one that
follows from its group's name. A clip that contradicts another, or links clips of different splits, is kept out with the
reason. Left out: merging itself (`merging.py`).
"""

from collections import defaultdict
from collections.abc import Sequence

from cac.data.versions.conflicts import SourcedClip, contradictions
from cac.data.versions.groups import SplitRatios, assign_splits, group_clips
from cac.errors import CacError
from cac.schema.annotations import Clip, Split

DATASET, DELIVERY = "dataset", "delivery"
Reasons = dict[int, list[str]]


def find_contradicting(dataset: Sequence[Clip], delivered: Sequence[Clip]) -> Reasons:
    """Return the delivered clips that contradict the dataset or one another, {place in `delivered`: reasons}.

    Of delivered clips that contradict one another all are there: which of them is right takes a person.
    """
    found = [*(SourcedClip(DATASET, clip) for clip in dataset), *(SourcedClip(DELIVERY, clip) for clip in delivered)]
    places = {id(clip): place for place, clip in enumerate(delivered)}
    reasons: Reasons = defaultdict(list)
    for one in contradictions(found):
        for side in one.sides:
            others = ", ".join(other[0].name for other in one.sides if other is not side)
            for member in side:
                if member.source == DELIVERY:
                    reasons[places[id(member.clip)]].append(f"{one.problem} as {others}")
    return reasons


def assign_new_splits(
    dataset: Sequence[Clip], delivered: Sequence[Clip], ratios: SplitRatios
) -> tuple[list[Clip], Reasons]:
    """Return the delivered clips with their splits, and those that cannot be placed, {place in `delivered`: reasons}.

    The clips returned are as many as came in; the split of one that cannot be placed means nothing.
    """
    placed = list(delivered)
    reasons: Reasons = defaultdict(list)
    for group in group_clips([*dataset, *delivered]):
        new = [place - len(dataset) for place in group if place >= len(dataset)]
        there = [dataset[place].split for place in group if place < len(dataset)]
        if not new:
            continue
        try:
            clips = _assign_group([delivered[place] for place in new], sorted(set(there)), ratios)
        except CacError as error:
            for place in new:
                reasons[place].append(str(error))
        else:
            for place, clip in zip(new, clips, strict=True):
                placed[place] = clip
    return placed, reasons


def _assign_group(new: list[Clip], there: list[Split], ratios: SplitRatios) -> list[Clip]:
    if len(there) > 1:
        raise CacError(f"links clips that the dataset has in different splits: {', '.join(there)}")
    if there:
        return [clip.model_copy(update={"split": there[0]}) for clip in new]
    return assign_splits(new, ratios)
