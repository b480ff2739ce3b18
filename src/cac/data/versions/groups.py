"""The split of each group of linked clips.

No group is in two splits. A group's split follows from hashes of its names, so adding other clips never changes it.
Only a clip that links two groups can move one of them, and only towards train: a training clip never becomes a test
clip. Out of scope: which clips are linked (`schema/linked_clips.py`), and reading and writing datasets.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cac.data.atomic_dataset import check_ratios, split_of
from cac.data.versions.cards import Card
from cac.errors import CacError
from cac.schema.annotations import EXTRA_SPLITS, Clip, Split
from cac.schema.linked_clips import group_clips, group_key

_TOWARDS_TRAIN: tuple[Split, ...] = ("test", "val", "train")
_SHOWN = 6  # clips of a group that an error names


@dataclass(frozen=True)
class SplitRatios:
    """Ratios of the groups that go to val and to test; the rest goes to train.

    Raises:
        CacError: a ratio is negative, or nothing is left for training.
    """

    val: float
    test: float

    def __post_init__(self) -> None:
        check_ratios(self.val, self.test)

    def to_dict(self) -> dict[str, float]:
        """Return the ratios as a dataset's card records them, under `splits`."""
        return {"val_ratio": self.val, "test_ratio": self.test}


def recorded_ratios(card: Card) -> SplitRatios | None:
    """Return the ratios that a dataset's card records; None if it records none."""
    match card.get("splits"):
        case {"val_ratio": float() | int() as val, "test_ratio": float() | int() as test}:
            return SplitRatios(val, test)
        case {"val_share": float() | int() as val, "test_share": float() | int() as test}:  # written before 0.2
            return SplitRatios(val, test)
    return None


def assign_splits(clips: Sequence[Clip], ratios: SplitRatios) -> list[Clip]:
    """Return the clips with the split that follows from their group; clips of `EXTRA_SPLITS` stay there.

    A group of several keys (pairs, or videos that clips were cut from) gets the split nearest to train of those that
    its keys would get alone.

    Raises:
        CacError: a group is partly in one of `EXTRA_SPLITS`; the message lists all such groups.
    """
    groups = group_clips(clips)
    torn = [group for group in groups if _is_torn({clips[i].split for i in group})]
    if torn:
        raise CacError(
            f"{len(torn)} groups are partly in {' or '.join(EXTRA_SPLITS)}, which keep their clips. Take each out of "
            "one of its splits:" + "".join(f"\n  {_describe([clips[i] for i in group])}" for group in torn)
        )
    assigned = list(clips)
    for group in groups:
        split = _split_of([clips[i] for i in group], ratios)
        for i in group:
            assigned[i] = clips[i].model_copy(update={"split": split})
    return assigned


def _is_torn(splits: set[Split]) -> bool:
    return len(splits) > 1 and not splits.isdisjoint(EXTRA_SPLITS)


def _split_of(group: Sequence[Clip], ratios: SplitRatios) -> Split:
    if group[0].split in EXTRA_SPLITS:
        return group[0].split
    keys = {group_key(clip) for clip in group}
    return max((split_of(key, ratios.val, ratios.test) for key in keys), key=_TOWARDS_TRAIN.index)


def groups_across_splits(clips: Sequence[Clip], names: Sequence[str] | None = None) -> list[str]:
    """Return a line for each group that is in more than one split, with `names` instead of the clip ids."""
    lines = []
    for group in group_clips(clips):
        if len({clips[i].split for i in group}) > 1:
            lines.append(_describe([clips[i] for i in group], names and [names[i] for i in group]))
    return lines


def _describe(group: Sequence[Clip], names: Sequence[str] | None = None) -> str:
    """Return which clips of a group are in which split."""
    said = names or [clip.clip_id for clip in group]
    by_split: dict[str, list[str]] = {}
    for clip, name in zip(group, said, strict=True):
        by_split.setdefault(clip.split, []).append(name)
    return "; ".join(f"{split}: {_cut(found)}" for split, found in sorted(by_split.items()))


def _cut(names: Iterable[str]) -> str:
    different = list(dict.fromkeys(names))
    more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
    return ", ".join(different[:_SHOWN]) + more
