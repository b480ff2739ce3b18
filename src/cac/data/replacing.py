"""Write a dataset folder whole or not at all: it is made beside its place and moved there when it is finished.

Left out: what is written. A folder that is no dataset is never replaced.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cac.annotations import CARD_NAME
from cac.errors import CacError


@contextmanager
def replaced_dataset(out: Path) -> Iterator[Path]:
    """Give a scratch folder with an empty `clips/` that takes the place of `out` when the block ends without an error.

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
    """Put the new dataset in the old one's place: by renaming, so that an interruption leaves one of them whole."""
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
