"""Making a folder whole or not at all, and giving a clip its split: what every maker of a dataset needs.

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
    scratch = _beside(place, "partial")
    _clear(place, scratch)
    try:
        yield scratch
        _move(scratch, place)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def split_of(key: str, val_share: float, test_share: float) -> Split:
    """Return a split by a hash of `key`, so that a larger dataset keeps the splits of a smaller one."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    if place < test_share:
        return "test"
    return "val" if place < test_share + val_share else "train"


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
