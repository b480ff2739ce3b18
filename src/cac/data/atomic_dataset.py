"""Making a folder whole or not at all, and drawing a split by a hash: what every maker of a dataset needs.

A new folder is made beside its place and moved there by renaming, so that an interruption leaves either the old one or
the new one. Left out: what is written into it.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cac.errors import CacError
from cac.schema.annotations import CARD_NAME, Split


@contextmanager
def new_dataset(out: Path) -> Iterator[Path]:
    """Yield an empty folder with `clips/` in it, which takes the place of `out` when the block ends well.

    If the block raises, `out` stays as it was and what was made is removed.

    Raises:
        CacError: `out` cannot be written, or holds something that is no dataset.
    """
    place = out.resolve()
    scratch = _beside(place, "partial")
    _check_replaceable(place)
    with _held(scratch, place):
        restore(place)
        try:
            _clear(scratch)
            yield scratch
            _move(scratch, place)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise


def check_ratios(val_ratio: float, test_ratio: float) -> None:
    """Hold shares against their bounds.

    Raises:
        CacError: one is negative, or they leave nothing for training.
    """
    if not (val_ratio >= 0 and test_ratio >= 0 and val_ratio + test_ratio < 1):
        raise CacError("--val-ratio and --test-ratio must be 0 or more, and below 1 together.")


def split_of(key: str, val_ratio: float, test_ratio: float) -> Split:
    """Return a split by a hash of `key`, so that a larger dataset keeps the splits of a smaller one."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    if place < test_ratio:
        return "test"
    return "val" if place < test_ratio + val_ratio else "train"


def restore(dataset: Path) -> None:
    """Put a dataset back that a process killed between the two renamings left under its other name."""
    place = dataset.resolve()
    old = _beside(place, "old")
    if not place.exists() and (old / CARD_NAME).is_file():
        old.rename(place)


def check_not_nested(dataset: Path, out: Path) -> None:
    """Make sure that a dataset that is read and the place of a new one are the same folder or lie apart.

    Raises:
        CacError: one lies in the other.
    """
    read, written = dataset.resolve(), out.resolve()
    if read in written.parents or written in read.parents:
        raise CacError(f"of {dataset} and {out} one lies in the other. Name a folder beside it with --out.")


def _beside(place: Path, suffix: str) -> Path:
    return place.parent / f".{place.name}.{suffix}"


def _check_replaceable(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise CacError(f"{out} is a file. Name a folder with --out.")
    if out.exists() and any(out.iterdir()) and not (out / CARD_NAME).is_file():
        raise CacError(f"{out} exists and is no dataset (it has no {CARD_NAME}). Name an empty folder with --out.")


@contextmanager
def _held(scratch: Path, out: Path) -> Iterator[None]:
    """Hold the kernel's lock on the scratch folder, made if need be; it ends with the process, however that ends."""
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        handle = os.open(scratch, os.O_RDONLY)
    except OSError as error:
        raise _cannot_write(scratch, error) from error
    try:
        if not _locked(handle, scratch):
            raise CacError(
                f"another process is making {out}, or has just made it. Wait for it, or name another folder with --out."
            )
        yield
    finally:
        os.close(handle)


def _locked(handle: int, scratch: Path) -> bool:
    """Lock the open folder, and tell whether that worked and it is still the one that stands there."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return scratch.is_dir() and os.path.samestat(os.fstat(handle), scratch.stat())


def _clear(scratch: Path) -> None:
    """Empty the folder, which stays the same one as it is locked."""
    try:
        for path in scratch.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        (scratch / "clips").mkdir()
    except OSError as error:
        raise _cannot_write(scratch, error) from error


def _cannot_write(scratch: Path, error: OSError) -> CacError:
    return CacError(f"cannot write to {scratch.parent}: {error.strerror}. Name another folder with --out.")


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
