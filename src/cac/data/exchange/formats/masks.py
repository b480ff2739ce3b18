"""Masks: for each video a folder of PNGs or a mask video, non-zero or bright where the anomaly is.

The folder or video is named after the video that it belongs to. A frame's box is that of its mask, and each run of
frames with a box is an anomaly. Where there are as many masks as frames they are taken in order; else the last digits
of a mask's name are its frame. A mask video needs as many frames as its video; compression blurs it, so that a pixel
counts if it is brighter than half. What the anomaly is comes from `labels.json` beside the masks (`{"NAME": "label"}`),
or is the label map's `default`. BrokenVideos pairs each clip with its masks; its own layout was not at hand. Out of
scope: several anomalies in a frame, which a mask does not distinguish.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cac.data.exchange.interchange import ImportedAnnotation, ImportedClip
from cac.data.exchange.locations import NORMALISED, ListedBoxes, Track, single_keyframes
from cac.data.exchange.media import VIDEO_SUFFIXES
from cac.data.exchange.parse import MAX_FILES, as_text, read_json
from cac.data.exchange.unusable import UnusableError
from cac.errors import CacError, printable
from cac.schema.geometry import Box
from cac.video.decode import VideoInfo, open_video
from cac.video.stream import Limits

LABELS_FILE = "labels.json"
_MAX_PIXELS = 64_000_000  # of one mask: a PNG of some kilobytes may unpack to gigabytes
_VIDEO_LIMITS = Limits(seconds=600, frames=600 * 60)
_LAST_DIGITS = re.compile(r"(\d{1,15})\D*$", re.ASCII)
_BRIGHT = 127


@dataclass(frozen=True)
class MaskVideoBoxes:
    """The boxes of a mask video, frame → box, and its frame count."""

    by_frame: dict[int, Box]
    frame_count: int

    def boxes(self, info: VideoInfo) -> dict[int, Box]:
        """Return frame → box.

        Raises:
            UnusableError: the mask video is longer or shorter than the video.
        """
        if self.frame_count != info.frame_count:
            raise UnusableError("a mask video with more or fewer frames than its video")
        return Track(single_keyframes(self.by_frame), NORMALISED).boxes(info)


def read(source: Path) -> list[ImportedClip]:
    """Return a clip for each folder of masks and each mask video in the source folder.

    Raises:
        CacError: there is none, or `labels.json` is no object of texts.
    """
    if not source.is_dir():
        raise CacError(f"{source} is no folder. Name the folder that holds a folder of masks or a mask video a video.")
    entries = sorted(path for path in source.iterdir() if path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES)
    if not entries:
        raise CacError(f"{source} holds no folder of masks and no mask video. It needs one a video, named after it.")
    labels = _read_labels(source / LABELS_FILE)
    names = {path.name for path in entries} | {path.stem for path in entries}
    unknown = sorted(set(labels) - names)
    if unknown:
        raise CacError(f"{source / LABELS_FILE} names {printable(', '.join(unknown))}, but no such masks are there.")
    return [_read_entry(path, labels.get(path.name) or labels.get(path.stem), _stray(source)) for path in entries]


def _read_labels(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    labels = read_json(path)
    if not isinstance(labels, dict) or not all(as_text(label) for label in labels.values()):
        raise CacError(f'{path} is no object of labels. Write {{"FOLDER": "label"}}.')
    return labels


def _stray(source: Path) -> tuple[str, ...]:
    """Return the names of what lies beside the masks and is not read."""
    known = {".txt", ".md", *VIDEO_SUFFIXES}
    beside = (path for path in source.iterdir() if path.is_file() and path.suffix.lower() not in known)
    return tuple(sorted(f"the file {printable(path.name)}" for path in beside if path.name != LABELS_FILE))


def _read_entry(path: Path, label: str | None, unknown: tuple[str, ...]) -> ImportedClip:
    name = path.name if path.is_dir() else path.stem
    try:
        location, empty = _read_folder(path) if path.is_dir() else _read_video(path)
    except UnusableError as error:
        return ImportedClip(name, unusable=str(error))
    return ImportedClip(name, () if empty else (ImportedAnnotation(label, location),), unknown=unknown)


def _read_folder(folder: Path) -> tuple[ListedBoxes, bool]:
    masks = _numbered(folder)
    found = {index: _box_of(_read_mask(path)) for index, (_, path) in enumerate(masks)}
    boxes = {index: box for index, box in found.items() if box is not None}
    return ListedBoxes(boxes, tuple(number for number, _ in masks)), not boxes


def _read_video(path: Path) -> tuple[MaskVideoBoxes, bool]:
    try:
        video = open_video(path, _VIDEO_LIMITS, path.name)
        frames = video.frames_at(range(video.frame_count))
        found = {number: _box_of(frame.max(axis=2) > _BRIGHT) for number, frame in enumerate(frames)}
    except CacError as error:
        raise UnusableError(f"a mask video cannot be read: {printable(str(error))}") from error
    boxes = {number: box for number, box in found.items() if box is not None}
    return MaskVideoBoxes(boxes, video.frame_count), not boxes


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """Return the masks by the number in their names, in order."""
    paths = [path for path in folder.iterdir() if path.suffix.lower() == ".png"]
    others = sorted(path.name for path in folder.iterdir() if path.suffix.lower() != ".png")
    _check_folder(paths, others)
    numbers = [_LAST_DIGITS.search(path.stem) for path in paths]
    if None in numbers:
        raise UnusableError("a mask without a frame number in its name")
    masks = sorted((int(number[1]), path) for number, path in zip(numbers, paths, strict=True) if number)
    if len({number for number, _ in masks}) < len(masks):
        raise UnusableError("two masks with the same frame number")
    return masks


def _check_folder(paths: list[Path], others: Iterable[str]) -> None:
    if not paths or len(paths) > MAX_FILES:
        raise UnusableError("its folder holds no masks (PNG)" if not paths else "its folder holds too many masks")
    first = next(iter(others), None)
    if first is not None:
        raise UnusableError(f"its folder holds {printable(first)}, which is no mask (PNG)")


def _box_of(mask: np.ndarray) -> Box | None:
    """Return the box around the true pixels of a mask (height, width), normalised; None if there are none."""
    ys, xs = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    if not len(xs):
        return None
    height, width = mask.shape
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
