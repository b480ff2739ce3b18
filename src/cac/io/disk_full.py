"""Telling that the disk is full, whatever a library made of it.

SQLite, PyTorch and safetensors each have their own words and types for a write that failed; the disk itself has one.
"""

import errno
import shutil
import tempfile
from pathlib import Path

_NOTHING = 1 << 20  # bytes left that are as good as none
_ADVICE = "Make room and run the same command again; what was finished is kept, checkpoints as well."


def explain_full_disk(error: BaseException) -> str | None:
    """Return what to tell the user if a full disk is behind `error`; None if none is."""
    if told := _find_system_error(error):
        return f"no space left on the disk{f' of {told.filename}' if told.filename else ''}. {_ADVICE}"
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        if shutil.disk_usage(folder).free < _NOTHING:
            return f"no space left on the disk of {folder}. {_ADVICE}"
    return None


def _find_system_error(error: BaseException | None) -> OSError | None:
    """Return the system's own error from the chain of causes, if it is there."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return error
        error = error.__cause__ or error.__context__
    return None
