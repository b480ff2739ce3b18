"""The folder of videos: finding the file a source names, and the name a clip gets for it.

A source's names are foreign: they may not leave the folder, and are compared as composed Unicode, because some file
systems decompose letters. Left out: whether a file is a video (`media.py`).
"""

import hashlib
import re
import unicodedata
from pathlib import Path, PurePosixPath

from cac.data.exchange.foreign import Unusable
from cac.errors import CacError

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".gif")
_LONGEST_ID = 120  # characters; file systems allow 255 bytes
_UNFIT = re.compile(r"[^\w.-]+")


class VideoFolder:
    """The files below a folder by their paths in it."""

    def __init__(self, folder: Path):
        """List the folder.

        Raises:
            CacError: there is no such folder.
        """
        if not folder.is_dir():
            raise CacError(f"no folder at {folder}. Name the folder of the videos with --videos.")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        self._files = {_composed(path.relative_to(folder).as_posix()): path for path in files}

    def resolve(self, name: str) -> str:
        """Return the path in the folder of the video that `name` names; its suffix may be missing.

        Raises:
            Unusable: the name leaves the folder, or there is no such file, or several are.
        """
        path = PurePosixPath(name)
        # A backslash and a colon name other places on Windows.
        if path.is_absolute() or ".." in path.parts or "\\" in name or re.match(r"[A-Za-z]:", name) or "\0" in name:
            raise Unusable("the name leaves the folder of videos")
        wanted = _composed(path.as_posix())
        if wanted in self._files:
            return wanted
        found = [wanted + suffix for suffix in VIDEO_SUFFIXES if wanted + suffix in self._files]
        if len(found) > 1:
            raise Unusable("several videos have this name with different suffixes")
        if not found:
            raise Unusable("no such file in the folder of videos")
        return found[0]

    def path(self, key: str) -> Path:
        """Return where the file is that `resolve` found."""
        return self._files[key]

    def videos(self) -> list[str]:
        """Return the paths in the folder of all files that are named like videos."""
        return [key for key in self._files if PurePosixPath(key).suffix.lower() in VIDEO_SUFFIXES]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def clip_id(key: str) -> str:
    """Return a clip id for a video's path in the folder: fit for a file name, and different for different paths.

    It depends on nothing else, so that a clip keeps its id and its split when the data grows.
    """
    plain = key.removesuffix(".mp4")
    fit = _UNFIT.sub("_", plain)[:_LONGEST_ID].lstrip(".-")
    if fit == plain and len(fit.encode()) <= _LONGEST_ID:
        return fit
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    short = fit.encode()[: _LONGEST_ID - 9].decode(errors="ignore")
    return f"{short}-{digest}"
