"""`cac data split`: every group of a dataset gets the split that follows from it, in place or as a new dataset.

In place the manifest and the card are replaced one after the other, each whole or not at all; a second run completes an
interrupted one, and otherwise changes nothing. Left out: which split that is (`groups.py`).
"""

import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cac.data.atomic_dataset import check_not_nested, new_dataset, restore
from cac.data.versions.cards import read_card, write_card
from cac.data.versions.groups import SplitRatios, assign_splits, group_clips
from cac.errors import CacError
from cac.schema.annotations import Clip, read_clips, write_clips


@dataclass(frozen=True)
class SplitReport:
    """What became of the clips: {split: number} before and after, groups after, and {(from, to): number} moved."""

    before: dict[str, int]
    after: dict[str, int]
    groups: dict[str, int]
    moved: dict[tuple[str, str], int]


def split_dataset(dataset: Path, ratios: SplitRatios, out: Path | None) -> SplitReport:
    """Split a dataset anew, in place or into `out`, which then holds all that the dataset's folder does.

    Raises:
        CacError: the dataset cannot be read or written, a group is partly in `test_shifted`, or one folder lies in the
            other.
    """
    restore(dataset)
    old = read_clips(dataset)
    new = assign_splits(old, ratios)
    card = read_card(dataset) | {"splits": {"val_ratio": ratios.val, "test_ratio": ratios.test}}
    if out is None or out.resolve() == dataset.resolve():
        _replace(dataset, new, card)
    else:
        _copy(dataset, out, new, card)
    return _report(old, new)


def _replace(dataset: Path, clips: list[Clip], card: dict[str, object]) -> None:
    """Put manifest and card in place of the old ones; where DVC linked them to its cache, the cache is not touched."""
    place = dataset.resolve()
    scratch = place.parent / f".{place.name}.split"
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        write_clips(scratch, clips)
        write_card(scratch, card)
        for written in sorted(scratch.iterdir()):
            _settle(written)
            written.replace(place / written.name)
    except OSError as error:
        raise CacError(f"cannot write to {dataset}: {error.strerror}. Name another folder with --out.") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _settle(path: Path) -> None:
    """Have the file on the disk before its name is changed, so that a power cut does not leave an empty one."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _copy(dataset: Path, out: Path, clips: list[Clip], card: dict[str, object]) -> None:
    check_not_nested(dataset, out)
    with new_dataset(out) as place:
        shutil.copytree(dataset, place, copy_function=shutil.copyfile, dirs_exist_ok=True)
        write_clips(place, clips)
        write_card(place, card)


def _report(old: list[Clip], new: list[Clip]) -> SplitReport:
    moved = Counter((a.split, b.split) for a, b in zip(old, new, strict=True) if a.split != b.split)
    return SplitReport(
        before=dict(Counter(clip.split for clip in old)),
        after=dict(Counter(clip.split for clip in new)),
        groups=dict(Counter(new[group[0]].split for group in group_clips(new))),
        moved={(str(a), str(b)): count for (a, b), count in sorted(moved.items())},
    )
