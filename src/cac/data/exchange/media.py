"""Taking a video file into a dataset: byte for byte where it is a plain mp4, else encoded anew.

Plain is an mp4 of a constant frame rate that no player turns. All frames are kept and none is repeated, so that frame
numbers stay what they were; a varying rate becomes its average. Left out: sound, and mirrored videos.
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

_MAX_DECODED = 2 * 1024**3  # bytes of frames held at once when encoding anew


def copy_or_encode(source: Path, target: Path) -> tuple[VideoInfo, bool]:
    """Copy or encode `source` to the mp4 `target`; return what the new file says of itself, and whether it is a copy.

    Raises:
        UnusableError: the file is no whole video, or too long to be encoded anew.
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
            raise UnusableError("too long to be encoded anew: make it an mp4 of constant rate first")
        video = decode(source)
        encode(target, np.ascontiguousarray(np.rot90(video.frames, turned, axes=(1, 2))), video.fps)
        return probe(target), False
    except (CacError, ValueError, av.FFmpegError) as error:
        raise UnusableError(f"unreadable: {printable(str(error).replace(str(source), source.name))}") from error
    except OSError as error:
        raise CacError(f"cannot write {target}: {error.strerror}. Make room, or name another --out.") from error


def _inspect(path: Path) -> tuple[bool, int]:
    """Return whether a video file is plain, and by how many quarter turns anticlockwise players show it.

    Raises:
        UnusableError: frames that the header promises are not there.
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
    """Whether frames follow one another evenly, by their times in ticks of the file's clock."""
    timing = FrameTiming()
    for time in sorted(times, key=lambda time: time or 0):
        timing.add(time)
    return timing.is_constant


VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".gif")
_MAX_ID = 120  # characters; file systems allow 255 bytes
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
            UnusableError: the name leaves the folder, or there is no such file, or several are.
        """
        path = PurePosixPath(name)
        # A backslash and a colon name other places on Windows.
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
    fit = _UNFIT.sub("_", plain)[:_MAX_ID].lstrip(".-")
    if fit == plain and len(fit.encode()) <= _MAX_ID:
        return fit
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    short = fit.encode()[: _MAX_ID - 9].decode(errors="ignore")
    return f"{short}-{digest}"
