"""Checks of `--out` and its like, made before any work: a typo must neither cost an hour nor destroy a file.

Out of scope: writing (`io/aside.py`), and whether a folder's present content may be replaced, which its writer checks.
"""

import os
from pathlib import Path

from cac.errors import CacError
from cac.schema.annotations import CARD_NAME

JSON, PNG = (".json",), (".png",)


def check_file(option: str, out: Path | None, suffixes: tuple[str, ...]) -> None:
    """Check that a file with one of the suffixes can be written to `out`; None is nothing to check.

    Raises:
        CacError: it has another suffix, is a folder or inside a dataset, or cannot be written.
    """
    if out is None:
        return
    if out.suffix.lower() not in suffixes:
        raise CacError(f"{option} {out}: the name must end in {' or '.join(suffixes)}.")
    if out.is_dir():
        raise CacError(f"{option} {out} is a folder. Name a file.")
    check_place(option, out)


def check_place(option: str, out: Path) -> None:
    """Check that `out` is in a folder that can be written, or can be created, and that is no dataset.

    Raises:
        CacError: it is not.
    """
    parents = out.resolve().parents
    dataset = next((folder for folder in parents if (folder / CARD_NAME).is_file()), None)
    if dataset:
        raise CacError(f"{option} {out} is inside the dataset {dataset}, which would change it. Name another place.")
    existing = next(folder for folder in parents if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        reason = "permission denied" if existing.is_dir() else f"{existing} is a file"
        raise CacError(f"{option}: cannot write {out}: {reason}. Name another place.")
