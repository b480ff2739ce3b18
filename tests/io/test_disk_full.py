"""A disk that is really full: /dev/full, which takes no byte."""

import errno
from pathlib import Path

import pytest

from cac.io.disk_full import explain_full_disk

pytestmark = pytest.mark.slow


def _error_of_a_full_disk() -> OSError:
    try:
        Path("/dev/full").write_text("x")
    except OSError as error:
        return error
    raise AssertionError("/dev/full took a byte")


def test_it_is_told_behind_what_a_library_made_of_it():
    try:
        try:
            raise _error_of_a_full_disk()
        except OSError as error:
            raise RuntimeError("file write failed") from error
    except RuntimeError as other:
        told = explain_full_disk(other)
    assert told is not None
    assert "no space left" in told
    assert "checkpoints" in told


def test_a_quota_counts_as_well():
    assert "clips/1.mp4" in (explain_full_disk(OSError(errno.EDQUOT, "Disk quota exceeded", "clips/1.mp4")) or "")


def test_other_errors_are_left_alone():
    assert explain_full_disk(OSError(errno.EACCES, "Permission denied")) is None
    assert explain_full_disk(ValueError("boom")) is None
