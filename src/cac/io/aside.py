"""Outputs are written aside and then swapped in: an error or an interruption leaves what was there, and nothing else.

A file or folder is made under a hidden name beside its target and renamed when it is complete. Folders that had to be
created for it are removed again if it fails. Out of scope: whether a target may be replaced, which its owner checks.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cac.errors import CacError


@contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """Yield the path of an empty file with the suffix of `out`, which replaces `out` when the block ends well.

    Raises:
        CacError: `out` cannot be written.
    """
    target = out.resolve()
    partial = target.with_name(f".{target.stem}.partial{target.suffix}")
    with new_parents(target):
        try:
            partial.touch()
        except OSError as error:
            raise _cannot_write(out, error) from error
        try:
            yield partial
            _rename(partial, target)
        finally:
            partial.unlink(missing_ok=True)


def write_text(out: Path, text: str) -> None:
    """Write a text file, completely or not at all.

    Raises:
        CacError: `out` cannot be written.
    """
    with new_file(out) as partial:
        try:
            partial.write_text(text, encoding="utf-8")
        except OSError as error:
            raise _cannot_write(out, error) from error


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder beside `out`, which replaces `out` when the block ends well. One process at a time.

    Raises:
        CacError: `out` cannot be written, or another process is writing it.
    """
    target = out.resolve()
    scratch = sibling(target, "partial")
    with new_parents(target), _lock(scratch, target):
        try:
            _clear(scratch)
            yield scratch
            _replace(scratch, target)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise


def sibling(target: Path, suffix: str) -> Path:
    """Return the hidden folder beside `target` in which it is made ("partial"), or waits to be removed ("old")."""
    return target.parent / f".{target.name}.{suffix}"


@contextmanager
def new_parents(target: Path) -> Iterator[None]:
    """Create the folders above `target`; if the block raises, remove those that were not there before.

    Raises:
        CacError: they cannot be created.
    """
    missing = [folder for folder in target.parents if not folder.exists()]
    try:
        _make(target.parent)
        yield
    except BaseException:
        for folder in missing:  # the innermost first; one that somebody else uses by now is not empty
            with suppress(OSError):
                folder.rmdir()
        raise


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from error


@contextmanager
def _lock(scratch: Path, out: Path) -> Iterator[None]:
    """Hold a file lock on the scratch folder, made if missing; the kernel releases it when the process ends."""
    try:
        scratch.mkdir(exist_ok=True)
        handle = os.open(scratch, os.O_RDONLY)
    except OSError as error:
        raise _cannot_write(scratch.parent, error) from error
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
    except OSError as error:
        raise _cannot_write(scratch.parent, error) from error


def _replace(scratch: Path, target: Path) -> None:
    """Replace the old folder with the new one by renaming, so that an interruption leaves one of them intact."""
    old = sibling(target, "old")
    shutil.rmtree(old, ignore_errors=True)
    try:
        if target.exists():
            _rename(target, old)
        _rename(scratch, target)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _rename(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        raise CacError(f"cannot replace {target}: {error.strerror}. Name another place with --out.") from error


def _cannot_write(place: Path, error: OSError) -> CacError:
    return CacError(f"cannot write to {place}: {error.strerror}. Name another place with --out.")
