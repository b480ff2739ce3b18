"""Masks: a folder a video with a PNG a frame, non-zero where the anomaly is (the form of BrokenVideos).

The folder is named after the video. A frame's box is that of its non-zero pixels, and each run of frames with a box is
an anomaly. Where there are as many masks as frames they are taken in order; else the last digits of a mask's name are
its frame, counted from 0. What the anomaly is comes from `labels.json` beside the folders (`{"FOLDER": "label"}`), or
is the label map's `default`. Out of scope: several anomalies in a
frame, which a mask does not distinguish.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cac.data.exchange.interchange import (
    NORMALISED,
    ImportedAnnotation,
    ImportedClip,
    Track,
    UnusableError,
    single_keyframes,
)
from cac.data.exchange.parse import MAX_FILES, as_text, read_json
from cac.errors import CacError, printable
from cac.schema.geometry import Box
from cac.video.decode import VideoInfo

LABELS_FILE = "labels.json"
_MAX_PIXELS = 64_000_000  # of one mask: a PNG of some kilobytes may unpack to gigabytes
_LAST_DIGITS = re.compile(r"(\d{1,15})\D*$", re.ASCII)


@dataclass(frozen=True)
class MaskBoxes:
    """The boxes of a folder of masks: index of the mask in the folder → box, and each mask's number by its name."""

    by_index: Mapping[int, Box]
    numbers: tuple[int, ...]

    def boxes(self, info: VideoInfo) -> dict[int, Box]:
        """Return frame → box."""
        in_order = len(self.numbers) == info.frame_count
        placed = {index if in_order else self.numbers[index]: box for index, box in self.by_index.items()}
        return Track(single_keyframes(placed), NORMALISED).boxes(info)


def read(source: Path) -> list[ImportedClip]:
    """Return a clip for each folder of masks in the source folder.

    Raises:
        CacError: there is none, or `labels.json` is no object of texts.
    """
    if not source.is_dir():
        raise CacError(f"{source} is no folder. Name the folder that holds one folder of masks a video.")
    folders = sorted(path for path in source.iterdir() if path.is_dir())
    if not folders:
        raise CacError(f"{source} holds no folder of masks. It needs one a video, named after it.")
    labels = _read_labels(source / LABELS_FILE)
    unknown = sorted(set(labels) - {folder.name for folder in folders})
    if unknown:
        raise CacError(f"{source / LABELS_FILE} names {printable(', '.join(unknown))}, but no such folder is there.")
    return [_read_folder(folder, labels.get(folder.name)) for folder in folders]


def _read_labels(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    labels = read_json(path)
    if not isinstance(labels, dict) or not all(as_text(label) for label in labels.values()):
        raise CacError(f'{path} is no object of labels. Write {{"FOLDER": "label"}}.')
    return labels


def _read_folder(folder: Path, label: str | None) -> ImportedClip:
    try:
        masks = _numbered(folder)
        found = {index: _box_of(path) for index, (_, path) in enumerate(masks)}
    except UnusableError as error:
        return ImportedClip(folder.name, unusable=str(error))
    boxes = {index: box for index, box in found.items() if box is not None}
    location = MaskBoxes(boxes, tuple(number for number, _ in masks))
    return ImportedClip(folder.name, (ImportedAnnotation(label, location),) if boxes else ())


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """Return the masks by the number in their names, in order."""
    paths = [path for path in folder.iterdir() if path.suffix.lower() == ".png"]
    numbers = [_LAST_DIGITS.search(path.stem) for path in paths]
    if not paths or len(paths) > MAX_FILES:
        raise UnusableError("its folder holds no masks (PNG)" if not paths else "its folder holds too many masks")
    if None in numbers:
        raise UnusableError("a mask without a frame number in its name")
    masks = sorted((int(number[1]), path) for number, path in zip(numbers, paths, strict=True) if number)
    if len({number for number, _ in masks}) < len(masks):
        raise UnusableError("two masks with the same frame number")
    return masks


def _box_of(path: Path) -> Box | None:
    """Return the box around the non-zero pixels, normalised; None if there are none."""
    pixels = _read_mask(path)
    ys, xs = np.nonzero(pixels.any(axis=1))[0], np.nonzero(pixels.any(axis=0))[0]
    if not len(xs):
        return None
    height, width = pixels.shape
    return (int(xs[0]) / width, int(ys[0]) / height, (int(xs[-1]) + 1) / width, (int(ys[-1]) + 1) / height)


def _read_mask(path: Path) -> np.ndarray:
    """Return a mask as booleans (height, width). Transparency does not count, and a palette's first colour is zero."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise UnusableError("a mask is too large")
            pixels = np.asarray(image)
            colours = len([band for band in image.getbands() if band != "A"])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnusableError(f"a mask cannot be read: {printable(path.name)} ({printable(str(error))})") from error
    mask: np.ndarray = np.any(pixels[..., :colours], axis=2) if pixels.ndim == 3 else np.not_equal(pixels, 0)
    return mask
