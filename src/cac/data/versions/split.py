"""`cac data split`: assign splits to all groups of a dataset, in place or as a new dataset.

In place, the manifest and the card are replaced one after the other, each completely or not at all. A second run
completes an interrupted one and otherwise changes nothing. Out of scope: which split a group gets (`groups.py`).
"""

import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cac.data.atomic_dataset import check_new_dataset, check_not_nested, new_dataset, restore
from cac.data.versions.cards import read_card, write_card
from cac.data.versions.groups import SplitRatios, assign_splits
from cac.errors import CacError
from cac.schema.annotations import Clip, read_clips, write_clips
from cac.schema.linked_clips import group_clips


@dataclass(frozen=True)
class SplitReport:
    """Counts of clips: {split: number} before and after, of groups after, and {(from, to): number} of moved clips."""

    before: dict[str, int]
    after: dict[str, int]
    groups: dict[str, int]
    moved: dict[tuple[str, str], int]


def split_dataset(dataset: Path, ratios: SplitRatios, out: Path | None, *, overwrite: bool = False) -> SplitReport:
    """Split a dataset again, in place or into `out`, a copy of the dataset's folder.

    Raises:
        CacError: the dataset cannot be read or written, a group is partly in `test_shifted`, one folder is inside
            the other, or, without `overwrite`, `out` holds another dataset.
    """
    in_place = out is None or out.resolve() == dataset.resolve()
    if out is not None and not in_place:
        check_not_nested(dataset, out)
        check_new_dataset(out, overwrite=overwrite)
    restore(dataset)
    old = read_clips(dataset)
    new = assign_splits(old, ratios)
    card = read_card(dataset) | {"splits": ratios.to_dict()}
    if out is None or in_place:
        _replace(dataset, new, card)
    else:
        with new_dataset(out, overwrite=overwrite) as target:
            shutil.copytree(dataset, target, copy_function=shutil.copyfile, dirs_exist_ok=True)
            write_clips(target, new)
            write_card(target, card)
    return _report(old, new)


def _replace(dataset: Path, clips: list[Clip], card: dict[str, object]) -> None:
    """Replace manifest and card; where DVC linked them to its cache, the cache is not changed."""
    target = dataset.resolve()
    scratch = target.parent / f".{target.name}.split"
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        write_clips(scratch, clips)
        write_card(scratch, card)
        for written in sorted(scratch.iterdir()):
            _sync(written)
            written.replace(target / written.name)
    except OSError as error:
        raise CacError(f"cannot write to {dataset}: {error.strerror}. Name another folder with --out.") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _sync(path: Path) -> None:
    """Flush the file to disk before it is renamed, so that a power cut does not leave an empty one."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _report(old: list[Clip], new: list[Clip]) -> SplitReport:
    moved = Counter((a.split, b.split) for a, b in zip(old, new, strict=True) if a.split != b.split)
    return SplitReport(
        before=dict(Counter(clip.split for clip in old)),
        after=dict(Counter(clip.split for clip in new)),
        groups=dict(Counter(new[group[0]].split for group in group_clips(new))),
        moved={(str(a), str(b)): count for (a, b), count in sorted(moved.items())},
    )
