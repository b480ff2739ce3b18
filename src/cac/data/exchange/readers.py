"""The formats that can be imported, and reading a source file by file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cac.data.exchange.formats import coco, cvat, darwin, label_studio, labelu, masks, skyra, windows
from cac.data.exchange.interchange import ImportedClip
from cac.data.exchange.locations import with_first_frame
from cac.data.exchange.parse import source_files
from cac.data.exchange.preferences import refuse_preference_files
from cac.errors import CacError


@dataclass(frozen=True)
class Reader:
    """How a format is read: a file at a time, by suffix, or a whole folder if there are no suffixes."""

    read: Callable[[Path], list[ImportedClip]]
    suffixes: tuple[str, ...] = ()


READERS = {
    "cvat": Reader(cvat.read, cvat.SUFFIXES),
    "label-studio": Reader(label_studio.read, label_studio.SUFFIXES),
    "coco": Reader(coco.read, coco.SUFFIXES),
    "skyra": Reader(skyra.read, skyra.SUFFIXES),
    "masks": Reader(masks.read),
    "labelu": Reader(labelu.read, labelu.SUFFIXES),
    "darwin": Reader(darwin.read, darwin.SUFFIXES),
    "windows": Reader(windows.read, windows.SUFFIXES),
}


def read_source(name: str, source: Path, first_frame: int | None = None) -> list[ImportedClip]:
    """Return the clips of a source, each with the file it comes from.

    Args:
        name: the format.
        source: a file, or a folder of files.
        first_frame: the number of a video's first frame, where the source leaves it open.

    Raises:
        CacError: a file is missing or not of the format, or has preference pairs.
    """
    reader = READERS[name]
    files = source_files(source, *reader.suffixes) if reader.suffixes else iter([source])
    try:
        clips = list(_read_files(reader, files))
    except CacError:
        refuse_preference_files(source)
        raise
    return clips if first_frame is None else [_counted_from(clip, first_frame) for clip in clips]


def _read_files(reader: Reader, files: Iterator[Path]) -> Iterator[ImportedClip]:
    for path in files:
        yield from (replace(clip, origin=path.name) for clip in reader.read(path))


def _counted_from(clip: ImportedClip, first: int) -> ImportedClip:
    located = (replace(one, location=with_first_frame(one.location, first)) for one in clip.annotations)
    return replace(clip, annotations=tuple(located))
