"""Write a dataset folder completely or not at all, and draw a split by a hash.

An interruption leaves either the old folder or the new one (`io/aside.py`), and a dataset is replaced only on request.
Out of scope: what is written into it.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cac.errors import CacError
from cac.io.aside import new_folder, sibling
from cac.schema.annotations import CARD_NAME, Split


@contextmanager
def new_dataset(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder with `clips/` in it, which becomes `out` when the block ends without an error.

    If the block raises, `out` stays as it was and the new folder is deleted.

    Raises:
        CacError: `out` cannot be written, holds something other than a dataset, or, without `overwrite`, a dataset.
    """
    check_new_dataset(out, overwrite=overwrite)
    with new_folder(out) as scratch:
        restore(out)
        check_new_dataset(out, overwrite=overwrite)  # again: what was restored may be a dataset
        (scratch / "clips").mkdir()
        yield scratch


def check_new_dataset(out: Path, *, overwrite: bool = False) -> None:
    """Check that a dataset may be written to `out`, before any work.

    Raises:
        CacError: `out` is a file or inside a dataset, or holds something other than a dataset, or, without
            `overwrite`, a dataset.
    """
    if out.exists() and not out.is_dir():
        raise CacError(f"{out} is a file. Name a folder with --out.")
    outer = next((folder for folder in out.resolve().parents if (folder / CARD_NAME).is_file()), None)
    if outer:
        raise CacError(f"{out} is inside the dataset {outer}. Name a folder elsewhere with --out.")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / CARD_NAME).is_file():
        raise CacError(f"{out} exists and is not a dataset (it has no {CARD_NAME}). Name an empty folder with --out.")
    if not overwrite:
        raise CacError(f"{out} holds a dataset. Name another folder with --out, or replace it with --overwrite.")


def check_ratios(val_ratio: float, test_ratio: float) -> None:
    """Check the ratios of val and test.

    Raises:
        CacError: one is negative, or nothing is left for training.
    """
    if not (val_ratio >= 0 and test_ratio >= 0 and val_ratio + test_ratio < 1):
        raise CacError("--val-ratio and --test-ratio must be 0 or more, and their sum below 1.")


def split_of(key: str, val_ratio: float, test_ratio: float) -> Split:
    """Return the split that a hash of `key` gives, so that a growing dataset keeps its splits."""
    position = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    if position < test_ratio:
        return "test"
    return "val" if position < test_ratio + val_ratio else "train"


def restore(dataset: Path) -> None:
    """Restore a dataset that a process left under its backup name when it was killed between the two renames."""
    target = dataset.resolve()
    old = sibling(target, "old")
    if not target.exists() and (old / CARD_NAME).is_file():
        old.rename(target)


def check_not_nested(dataset: Path, out: Path) -> None:
    """Check that neither of the two folders, to read and to write, is inside the other; they may be the same.

    Raises:
        CacError: one is inside the other.
    """
    read, written = dataset.resolve(), out.resolve()
    if read in written.parents or written in read.parents:
        raise CacError(f"of {dataset} and {out} one is inside the other. Name a folder beside it with --out.")
