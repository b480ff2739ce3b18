"""`cac data export`: write a dataset's annotations in another tool's format.

Videos are not copied: the other tool reads them from the dataset's `clips/`. Out of scope: formats that are only read.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from cac.data.exchange.formats import coco_write, cvat_write, label_studio_write
from cac.errors import CacError
from cac.io.aside import new_file, new_folder
from cac.schema.annotations import Clip, read_clips

Writer = Callable[[Sequence[Clip], Path], None]

FILE_WRITERS: dict[str, Writer] = {"label-studio": label_studio_write.write, "coco": coco_write.write}
FOLDER_WRITERS: dict[str, Writer] = {"cvat": cvat_write.write}  # a file a clip


def export_dataset(name: str, dataset: Path, out: Path) -> int:
    """Write the annotations to `out`, a file or for CVAT a folder, and return the number of clips.

    An existing file is replaced; a folder must be empty or new.

    Raises:
        CacError: the dataset cannot be read, or `out` cannot be written.
    """
    clips = read_clips(dataset)
    out = out.resolve()
    try:
        if name in FOLDER_WRITERS:
            _write_folder(FOLDER_WRITERS[name], clips, out)
        else:
            _write_file(FILE_WRITERS[name], clips, out)
    except OSError as error:
        raise CacError(f"cannot write {out}: {error.strerror}. Name another place with --out.") from error
    return len(clips)


def _write_file(write: Writer, clips: Sequence[Clip], out: Path) -> None:
    if out.is_dir():
        raise CacError(f"{out} is a folder. Name a file with --out.")
    with new_file(out) as scratch:
        write(clips, scratch)


def _write_folder(write: Writer, clips: Sequence[Clip], out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CacError(f"{out} exists and is no empty folder. Name a new folder with --out.")
    with new_folder(out) as scratch:
        write(clips, scratch)
