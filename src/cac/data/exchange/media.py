"""The folder of videos of an import, and copying its videos into a dataset.

A plain video, an mp4 of a constant frame rate without rotation, is copied byte for byte; any other is encoded again.
All frames are kept and none is repeated, so frame numbers do not change; a varying rate becomes its average. Out of
scope: sound, and mirrored videos.
"""

import hashlib
import re
import shutil
import unicodedata
from pathlib import Path, PurePosixPath

import numpy as np

from cac.data.exchange.interchange import UnusableError
from cac.data.validation.probe import FrameTiming
from cac.errors import CacError, printable
from cac.video.decode import VideoInfo, decode, probe
from cac.video.encode import encode

_MAX_DECODED = 2 * 1024**3  # bytes of frames in memory when a video is encoded again


def copy_or_encode(source: Path, target: Path) -> tuple[VideoInfo, bool]:
    """Copy or encode `source` to the mp4 `target`; return the new file's properties, and whether it is a copy.

    Raises:
        UnusableError: the file is not a complete video, or is too long to be encoded.
        CacError: `target` cannot be written.
    """
    import av

    try:
        info = probe(source)
        plain, turned = _inspect(source)
        if plain:
            shutil.copyfile(source, target)
            return info, True
        size = info.frame_count * info.width * info.height * 3
        if size > _MAX_DECODED:
            raise UnusableError("too long to be encoded: convert it to an mp4 of constant rate first")
        video = decode(source)
        encode(target, np.ascontiguousarray(np.rot90(video.frames, turned, axes=(1, 2))), video.fps)
        return probe(target), False
    except (CacError, ValueError, av.FFmpegError) as error:
        raise UnusableError(f"unreadable: {printable(str(error).replace(str(source), source.name))}") from error
    except OSError as error:
        raise CacError(f"cannot write {target}: {error.strerror}. Free some space, or name another --out.") from error


def _inspect(path: Path) -> tuple[bool, int]:
    """Return whether a video file is plain, and its rotation in quarter turns anticlockwise.

    Raises:
        UnusableError: it has fewer frames than its header says.
    """
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        is_mp4 = path.suffix.lower() == ".mp4" and "mp4" in container.format.name
        times = [packet.pts for packet in container.demux(stream) if packet.size]
        if is_mp4 and len(times) < stream.frames:
            raise UnusableError(f"unreadable: cut short, {len(times)} of {stream.frames} frames are there")
        container.seek(0)
        turned = round(next(container.decode(stream)).rotation / 90) % 4
    return is_mp4 and not turned and _is_constant(times), turned


def _is_constant(times: list[int | None]) -> bool:
    """Whether the frame rate is constant, from the frames' times in ticks of the file's clock."""
    timing = FrameTiming()
    for time in sorted(times, key=lambda time: time or 0):
        timing.add(time)
    return timing.is_constant


VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".gif")
_MAX_ID = 120  # characters; file systems allow 255 bytes
_UNFIT = re.compile(r"[^\w.-]+")


class VideoFolder:
    """The files below a folder, by their relative paths."""

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
        """Return the relative path of the video called `name`; the suffix may be missing.

        Raises:
            UnusableError: the name leads out of the folder, or no file or several files match.
        """
        path = PurePosixPath(name)
        # A backslash or a colon can lead out of the folder on Windows.
        if path.is_absolute() or ".." in path.parts or "\\" in name or re.match(r"[A-Za-z]:", name) or "\0" in name:
            raise UnusableError("the name leaves the folder of videos")
        wanted = _composed(path.as_posix())
        if wanted in self._files:
            return wanted
        found = [wanted + suffix for suffix in VIDEO_SUFFIXES if wanted + suffix in self._files]
        if len(found) > 1:
            raise UnusableError("several videos have this name with different suffixes")
        if not found:
            raise UnusableError("no such file in the folder of videos")
        return found[0]

    def path(self, key: str) -> Path:
        """Return the file of a path that `resolve` returned."""
        return self._files[key]

    def videos(self) -> list[str]:
        """Return the relative paths of all files with the suffix of a video."""
        return [key for key in self._files if PurePosixPath(key).suffix.lower() in VIDEO_SUFFIXES]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def clip_id(key: str) -> str:
    """Return a clip id for a video's path in the folder: valid as a file name, and unique.

    It depends on the path only, so that a clip keeps its id and its split when the data grows.
    """
    plain = key.removesuffix(".mp4")
    fit = _UNFIT.sub("_", plain)[:_MAX_ID].lstrip(".-")
    if fit == plain and len(fit.encode()) <= _MAX_ID:
        return fit
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    short = fit.encode()[: _MAX_ID - 9].decode(errors="ignore")
    return f"{short}-{digest}"
