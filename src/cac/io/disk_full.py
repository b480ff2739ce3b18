"""Detect that the disk is full, whatever error a library made of it.

SQLite, PyTorch and safetensors each raise their own error for a failed write; the operating system has one.
"""

import errno
import shutil
import tempfile
from pathlib import Path

_NOTHING = 1 << 20  # bytes left that count as none
_ADVICE = "Free some space and run the same command again; finished stages and checkpoints are kept."


def explain_full_disk(error: BaseException) -> str | None:
    """Return a message for the user if a full disk caused `error`; else None."""
    if cause := _find_system_error(error):
        return f"no space left on the disk{f' of {cause.filename}' if cause.filename else ''}. {_ADVICE}"
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        if shutil.disk_usage(folder).free < _NOTHING:
            return f"no space left on the disk of {folder}. {_ADVICE}"
    return None


def _find_system_error(error: BaseException | None) -> OSError | None:
    """Return the system's error from the chain of causes, if there is one."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return error
        error = error.__cause__ or error.__context__
    return None
