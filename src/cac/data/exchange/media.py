"""The folder of videos of an import, and copying its videos into a dataset.

A plain video, an upright mp4 of a constant frame rate with square pixels, is copied byte for byte. Any other is encoded
again, and so is a folder of numbered images, which stands for a video wherever one may. All frames are kept and none
is repeated, so frame numbers do not change; a varying rate becomes its average. Out of scope: sound.
"""

import hashlib
import re
import shutil
import unicodedata
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, unquote_plus

from cac.data.exchange.frame_folder import folder_key, frame_folders, read_frames
from cac.data.exchange.unusable import UnusableError
from cac.data.validation.probe import FrameTiming
from cac.errors import CacError, printable
from cac.video.decode import VideoInfo, open_video, probe
from cac.video.encode import encode
from cac.video.stream import VideoIndex, index_video, video_source


def copy_or_encode(
    source: Path, target: Path, seconds: Sequence[float] = (), rate: float | None = None
) -> tuple[VideoInfo, bool]:
    """Copy or encode `source` to the mp4 `target`; return the new file's properties, and whether it is a copy.

    The properties of a file that is encoded again have the times that its frames had, since annotations in seconds are
    of those; the new file spreads them evenly.

    Args:
        source: a video file, or a folder of frames.
        target: the file to write.
        seconds: the frames' times and `rate` their rate, for a folder that does not say them itself.
        rate: see `seconds`.

    Raises:
        UnusableError: the file is not a complete video, or is too long to be encoded.
        CacError: `target` cannot be written.
    """
    import av

    try:
        if source.is_dir():
            folder = read_frames(source, seconds, rate)
            encode(target, folder.frames, folder.fps)
            return probe(target), False
        video = open_video(source)
        frames = video.frames_at(range(video.frame_count))
        if _is_plain(source):
            deque(frames, maxlen=0)  # a file may be whole and still not decode
            shutil.copyfile(source, target)
            return probe(target), True
        encode(target, frames, video.fps)
        return replace(probe(target), times=tuple(video.times)), False
    except (CacError, ValueError, av.FFmpegError) as error:
        raise UnusableError(f"unreadable: {printable(str(error).replace(str(source), source.name))}") from error
    except OSError as error:
        raise CacError(f"cannot write {target}: {error.strerror}. Free some space, or name another --out.") from error


def _is_plain(path: Path) -> bool:
    """Return whether a video file is an mp4 that everybody shows alike: constant rate, upright, square pixels."""
    if path.suffix.lower() != ".mp4":
        return False
    source = video_source(path)
    index = index_video(source)
    with source.open() as container:
        only = "mp4" in container.format.name and len(container.streams.video) == 1
    return only and index.coded == index.size and not (index.quarter_turns or index.mirrored) and _is_constant(index)


def _is_constant(index: VideoIndex) -> bool:
    """Whether the frame rate is constant, from the frames' times in ticks of the file's clock."""
    timing = FrameTiming()
    for stamp in index.stamps:
        timing.add(stamp)
    return timing.is_constant


VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".gif")
_MAX_ID = 120  # characters; file systems allow 255 bytes
_UNFIT = re.compile(r"[^\w.-]+")


class VideoFolder:
    """The videos below a folder, files and folders of frames, by their relative paths; a folder's ends in a slash."""

    def __init__(self, folder: Path):
        """List the folder.

        Raises:
            CacError: there is no such folder.
        """
        if not folder.is_dir():
            raise CacError(f"no folder at {folder}. Name the folder of the videos with --videos.")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        self._files = {_composed(path.relative_to(folder).as_posix()): path for path in files}
        for path in frame_folders(files):
            self._files[_composed(folder_key(PurePosixPath(path.relative_to(folder).as_posix())))] = path
        # The last part of a video's name → its paths: a benchmark has thousands of names to look up.
        self._by_last_part: dict[str, list[str]] = defaultdict(list)
        for key in self.videos():
            for last in {PurePosixPath(name).name for name in _names_of(key)}:
                self._by_last_part[last].append(key)

    def resolve(self, name: str) -> tuple[str, bool]:
        """Return the relative path of the video called `name`, and whether it has exactly this name.

        The suffix may be missing. A name that is not found is tried without URL encoding, and without the folders that
        only one of both has, the name or the path: `2024/a.mp4` is `a.mp4`, but not `2023/a.mp4`.

        Raises:
            UnusableError: the name leads out of the folder, or no file or several files match.
        """
        for exact, find in ((True, self._named), (False, self._alike)):
            for spelling in dict.fromkeys((name, unquote(name), unquote_plus(name))):
                _check_inside(spelling)
                found = find(_composed(PurePosixPath(spelling).as_posix()))
                if len(found) > 1:
                    raise UnusableError("several videos have this name")
                if found:
                    return found[0], exact
        raise UnusableError("no such file in the folder of videos")

    def _named(self, wanted: str) -> list[str]:
        """Return the videos at a path, or at this path with a suffix; a file goes before a folder of frames."""
        if wanted in self._files:
            return [wanted]
        return [wanted + end for end in (*VIDEO_SUFFIXES, "/") if wanted + end in self._files]

    def _alike(self, wanted: str) -> list[str]:
        """Return the videos whose path ends as a name does, or the other way round; a colon is no part of a path."""
        if ":" in wanted:
            return []
        candidates = self._by_last_part.get(PurePosixPath(wanted).name, [])
        return [key for key in candidates if any(_one_ends_the_other(wanted, name) for name in _names_of(key))]

    def path(self, key: str) -> Path:
        """Return the file or folder of a path that `resolve` returned."""
        return self._files[key]

    def videos(self) -> list[str]:
        """Return the relative paths of all videos: files with the suffix of one, and folders of frames."""
        return [key for key in self._files if key.endswith("/") or PurePosixPath(key).suffix.lower() in VIDEO_SUFFIXES]


def _check_inside(name: str) -> None:
    path = PurePosixPath(name)
    # A backslash or a colon can lead out of the folder on Windows.
    if path.is_absolute() or ".." in path.parts or "\\" in name or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise UnusableError("the name leaves the folder of videos")


def _names_of(key: str) -> Iterator[str]:
    """Yield the names of a video: its path with and without the suffix."""
    yield key.rstrip("/")
    if not key.endswith("/"):
        yield str(PurePosixPath(key).with_suffix(""))


def _one_ends_the_other(a: str, b: str) -> bool:
    longer, shorter = sorted((PurePosixPath(a).parts, PurePosixPath(b).parts), key=len, reverse=True)
    return bool(shorter) and longer[len(longer) - len(shorter) :] == shorter


def content_digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files.

    Raises:
        UnusableError: it cannot be read.
    """
    try:
        if not path.is_dir():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        for each in sorted(path.iterdir()):
            digest.update(f"{each.name}\0{hashlib.sha256(each.read_bytes()).hexdigest()}\n".encode(errors="replace"))
        return digest.hexdigest()
    except OSError as error:
        raise UnusableError(f"unreadable: {error.strerror}") from error


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
