"""Lists the videos below a folder or an S3 prefix, in a fixed order, and reads their content.

Files without a video suffix are ignored. Nothing here changes the source.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from cac.data.exchange.media import VIDEO_SUFFIXES
from cac.errors import BeyondLimitsError, CacError
from cac.io.s3 import SCHEME, Bucket


@dataclass(frozen=True)
class ListedVideo:
    """A video to score.

    Attributes:
        name: its path relative to the source, with slashes.
        size: bytes.
        stamp: changes when the content does: the modification time, or the object's ETag.
    """

    name: str
    size: int
    stamp: str


class Source(Protocol):
    """Where videos come from."""

    def videos(self) -> list[ListedVideo]:
        """List them, sorted by name."""

    def read(self, video: ListedVideo, most_bytes: int) -> bytes:
        """Return the content of a video of at most `most_bytes`."""


@dataclass(frozen=True)
class FolderSource:
    """A folder and all below it; links to folders are not followed."""

    folder: Path

    def videos(self) -> list[ListedVideo]:
        """List the videos by name.

        Raises:
            CacError: a name is not valid UTF-8, or a folder cannot be read.
        """
        found = []
        for directory, _, names in os.walk(self.folder, onerror=_refuse_folder):
            paths = (Path(directory) / name for name in names if _is_video(name))
            found += [self._listed(path) for path in paths if path.is_file()]
        return sorted(found, key=lambda video: video.name)

    def _listed(self, path: Path) -> ListedVideo:
        name = path.relative_to(self.folder).as_posix()
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise CacError(
                f"the file name {name!r} is not valid UTF-8, so a table cannot hold it. Rename the file."
            ) from error
        facts = path.stat()
        return ListedVideo(name, facts.st_size, str(facts.st_mtime_ns))

    def read(self, video: ListedVideo, most_bytes: int) -> bytes:
        """Return a file's content.

        Raises:
            CacError: it cannot be read, or is larger.
        """
        if video.size > most_bytes:
            raise BeyondLimitsError(f"{video.name} has {video.size} bytes, of {most_bytes} allowed.")
        try:
            return (self.folder / video.name).read_bytes()
        except OSError as error:
            raise CacError(f"{video.name} cannot be read: {error.strerror}.") from error


@dataclass(frozen=True)
class S3Source:
    """The objects below a folder of a bucket."""

    bucket: Bucket

    def videos(self) -> list[ListedVideo]:
        """List the videos by key; as `Bucket.objects`."""
        return [ListedVideo(one.key, one.size, one.etag) for one in self.bucket.objects() if _is_video(one.key)]

    def read(self, video: ListedVideo, most_bytes: int) -> bytes:
        """Return an object's content; as `Bucket.fetch`."""
        return self.bucket.fetch(video.name, most_bytes)


def open_source(source: str) -> Source:
    """Return the folder or S3 prefix that `source` names.

    Raises:
        CacError: it is neither.
    """
    if source.startswith(SCHEME):
        return S3Source(Bucket(source))
    if not Path(source).is_dir():
        raise CacError(f"no folder at {source}. Give a folder of videos, or s3://bucket/prefix.")
    return FolderSource(Path(source))


def sample(videos: Sequence[ListedVideo], most: int | None) -> list[ListedVideo]:
    """Return at most `most` videos, in order; the choice depends on a hash of their names alone."""
    if most is None or len(videos) <= most:
        return list(videos)
    chosen = set(sorted(videos, key=lambda video: hashlib.sha256(video.name.encode()).digest())[:most])
    return [video for video in videos if video in chosen]


def _refuse_folder(error: OSError) -> None:
    raise CacError(f"cannot read {error.filename}: {error.strerror}. Its videos would be missing from the table.")


def _is_video(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES
