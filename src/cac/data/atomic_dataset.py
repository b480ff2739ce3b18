"""Write a dataset folder completely or not at all, and draw a split by a hash.

A new folder is made beside its target and renamed, so that an interruption leaves either the old folder or the new
one. Out of scope: what is written into it.
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
    """Yield an empty folder with `clips/` in it, which replaces `out` when the block ends without an error.

    If the block raises, `out` stays as it was and the new folder is deleted.

    Raises:
        CacError: `out` cannot be written, or holds something other than a dataset.
    """
    target = out.resolve()
    scratch = _sibling(target, "partial")
    _check_replaceable(target)
    with _lock(scratch, target):
        restore(target)
        try:
            _clear(scratch)
            yield scratch
            _replace(scratch, target)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise


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
    old = _sibling(target, "old")
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


def _sibling(target: Path, suffix: str) -> Path:
    return target.parent / f".{target.name}.{suffix}"


def _check_replaceable(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise CacError(f"{out} is a file. Name a folder with --out.")
    if out.exists() and any(out.iterdir()) and not (out / CARD_NAME).is_file():
        raise CacError(f"{out} exists and is not a dataset (it has no {CARD_NAME}). Name an empty folder with --out.")


@contextmanager
def _lock(scratch: Path, out: Path) -> Iterator[None]:
    """Hold a file lock on the scratch folder, made if missing; the kernel releases it when the process ends."""
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        handle = os.open(scratch, os.O_RDONLY)
    except OSError as error:
        raise _cannot_write(scratch, error) from error
    try:
        if not _try_lock(handle, scratch):
            raise CacError(
                f"another process is writing {out}, or has just written it. "
                "Wait for it, or name another folder with --out."
            )
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int, scratch: Path) -> bool:
    """Lock the open folder; return whether that worked and `scratch` is still that folder."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return scratch.is_dir() and os.path.samestat(os.fstat(handle), scratch.stat())


def _clear(scratch: Path) -> None:
    """Empty the folder without replacing it, because it is locked."""
    try:
        for path in scratch.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        (scratch / "clips").mkdir()
    except OSError as error:
        raise _cannot_write(scratch, error) from error


def _cannot_write(scratch: Path, error: OSError) -> CacError:
    return CacError(f"cannot write to {scratch.parent}: {error.strerror}. Name another folder with --out.")


def _replace(scratch: Path, target: Path) -> None:
    """Replace the old folder with the new one by renaming, so that an interruption leaves one of them intact."""
    old = _sibling(target, "old")
    shutil.rmtree(old, ignore_errors=True)
    try:
        if target.exists():
            target.rename(old)
        scratch.rename(target)
    except OSError as error:
        raise CacError(f"cannot replace {target}: {error.strerror}. Name another folder with --out.") from error
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
    shutil.rmtree(old, ignore_errors=True)
