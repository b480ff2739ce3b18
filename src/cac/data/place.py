"""Making a folder whole or not at all, and drawing a split by a hash: what every maker of a dataset needs.

A new folder is made beside its place and moved there by renaming, so that an interruption leaves either the old one or
the new one. Left out: what is written into it.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cac.annotations import CARD_NAME, Split
from cac.errors import CacError


@contextmanager
def new_dataset(out: Path) -> Iterator[Path]:
    """Yield an empty folder with `clips/` in it, which takes the place of `out` when the block ends well.

    If the block raises, `out` stays as it was and what was made is removed.

    Raises:
        CacError: `out` cannot be written, or holds something that is no dataset.
    """
    place = out.resolve()
    restore(place)
    scratch = _beside(place, "partial")
    _clear(place, scratch)
    try:
        yield scratch
        _move(scratch, place)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def check_shares(val_share: float, test_share: float) -> None:
    """Hold shares against their bounds.

    Raises:
        CacError: one is negative, or they leave nothing for training.
    """
    if not (val_share >= 0 and test_share >= 0 and val_share + test_share < 1):
        raise CacError("--val-share and --test-share must be 0 or more, and below 1 together.")


def split_of(key: str, val_share: float, test_share: float) -> Split:
    """Return a split by a hash of `key`, so that a larger dataset keeps the splits of a smaller one."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    if place < test_share:
        return "test"
    return "val" if place < test_share + val_share else "train"


def restore(dataset: Path) -> None:
    """Put a dataset back that a process killed between the two renamings left under its other name."""
    place = dataset.resolve()
    old = _beside(place, "old")
    if not place.exists() and (old / CARD_NAME).is_file():
        old.rename(place)


def refuse_nesting(dataset: Path, out: Path) -> None:
    """Make sure that a dataset that is read and the place of a new one are the same folder or lie apart.

    Raises:
        CacError: one lies in the other.
    """
    read, written = dataset.resolve(), out.resolve()
    if read in written.parents or written in read.parents:
        raise CacError(f"of {dataset} and {out} one lies in the other. Name a folder beside it with --out.")


def _beside(place: Path, suffix: str) -> Path:
    return place.parent / f".{place.name}.{suffix}"


def _clear(out: Path, scratch: Path) -> None:
    if out.exists() and not out.is_dir():
        raise CacError(f"{out} is a file. Name a folder with --out.")
    if out.exists() and any(out.iterdir()) and not (out / CARD_NAME).is_file():
        raise CacError(f"{out} exists and is no dataset (it has no {CARD_NAME}). Name an empty folder with --out.")
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        (scratch / "clips").mkdir(parents=True)
    except OSError as error:
        raise CacError(
            f"cannot write to {scratch.parent}: {error.strerror}. Name another folder with --out."
        ) from error


def _move(scratch: Path, place: Path) -> None:
    """Put the new folder in the old one's place: by renaming, so that an interruption leaves one of them whole."""
    old = _beside(place, "old")
    shutil.rmtree(old, ignore_errors=True)
    try:
        if place.exists():
            place.rename(old)
        scratch.rename(place)
    except OSError as error:
        raise CacError(f"cannot replace {place}: {error.strerror}. Name another folder with --out.") from error
    finally:
        if old.exists() and not place.exists():
            old.rename(place)
    shutil.rmtree(old, ignore_errors=True)
