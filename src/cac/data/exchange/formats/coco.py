"""COCO: JSON with boxes in pixels, a row a frame, in the forms videos are kept in; and YouTube-VIS, a row a track.

A frame belongs to the video its `video_id` names, with a `frame_id`; or to the folder in its `file_name`, or to the
JSON's own name, with the last digits of the file's name as its number (what Datumaro and CVAT export frame by frame).
Whether frames count from 0 or 1 is proved by the numbers themselves, else asked for. Ids may be numbers or text. A row
without a `bbox` has the box of its `segmentation`. Out of scope: keypoints, captions.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from cac.data.exchange.formats.coco_shapes import CROWD_CHANGE, shape_box
from cac.data.exchange.formats.frame_boxes import FrameBoxes
from cac.data.exchange.interchange import ImportedAnnotation, ImportedClip
from cac.data.exchange.locations import ListedBoxes, NumberedFrames, Size
from cac.data.exchange.parse import as_frame, as_id, as_list, as_number, as_text, plain_name, read_json
from cac.data.exchange.unusable import UnusableError
from cac.errors import CacError, printable
from cac.schema.geometry import Box

SUFFIXES = (".json",)
_LAST_DIGITS = re.compile(r"(\d{1,15})\D*$", re.ASCII)
_TABLES = ("videos", "images", "annotations", "categories")
# Keys that say nothing about whether a clip is clean. Others may: `tags` of an image, say.
_KNOWN_PARTS = {*_TABLES, "info", "licenses", "license", "type", "tracks"}
# fmt: off
_KNOWN_KEYS = {
    "id", "name", "file_name", "file_names", "width", "height", "fps", "length", "duration", "license",
    "generator", "pair_id", "video_id", "frame_id", "frame_index", "coco_url", "flickr_url", "date_captured",
    "date", "source", "url", "path", "dataset", "split", "cat_id", "neg_category_ids",
    "not_exhaustive_category_ids", "is_vid_train_frame", "mot_frame_id", "prev_image_id", "next_image_id",
    "frame_range", "vid_id", "frames_count", "num_frames", "image_ids",
}
# fmt: on


@dataclass(frozen=True)
class _Frame:
    video: str
    number: int
    size: Size | None


@dataclass
class _Video:
    """What is gathered of one video."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    boxes: FrameBoxes = field(default_factory=FrameBoxes)
    numbers: list[int] = field(default_factory=list)
    tracks: list[ImportedAnnotation] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)


def read(path: Path) -> list[ImportedClip]:
    """Return the clips of a JSON file.

    Raises:
        CacError: it is no such JSON.
    """
    content = read_json(path)
    has_tables = isinstance(content, dict) and "annotations" in content and {"images", "videos"} & content.keys()
    if not has_tables:
        raise CacError(f"{path}: no `images` and `annotations`. Is this a COCO file of instances?")
    rows = {name: _rows(content.get(name, []), name, path) for name in _TABLES}
    names = {row["id"]: _name_of(row, path) for row in rows["videos"]}
    _refuse_twice(list(names.values()), "the videos named", path)
    videos = {names[row["id"]]: _Video(row, unknown=_unknown_keys(row, "a video")) for row in rows["videos"]}
    frames = _frames(rows["images"], names, videos, path)
    labels = {row["id"]: row.get("name") for row in rows["categories"]}
    _gather(rows["annotations"], _Lookup(frames, labels, names, videos), path)
    unknown = {f"`{printable(part)}`" for part, value in content.items() if part not in _KNOWN_PARTS and _says(value)}
    first = 0 if any(0 in video.numbers for video in videos.values()) else _first_by_length(videos.values())
    return [_clip(name, video, str(path), unknown, first) for name, video in videos.items()]


def _says(value: Any) -> bool:
    """Whether a part that is not known can say anything: an empty list or a file's version cannot."""
    return isinstance(value, list | dict) and bool(value)


def _unknown_keys(row: Mapping[str, Any], what: str) -> set[str]:
    given = {key for key, value in row.items() if value is not None and value not in ("", [], {})}
    return {f"{what}'s `{printable(key)}`" for key in given - _KNOWN_KEYS}


def _rows(value: Any, name: str, path: Path) -> list[dict[str, Any]]:
    """Return a table's rows, their `id` as text."""
    rows = []
    for number, row in enumerate(as_list(value, f"`{name}`", path)):
        key = as_id(row.get("id")) if isinstance(row, dict) else None
        # Nothing refers to an annotation.
        if not isinstance(row, dict) or (key is None and name != "annotations"):
            raise CacError(f"{path}: entry {number} of `{name}` is no object with an `id`. Export it again.")
        rows.append(row | {"id": key})
    if name != "annotations":
        _refuse_twice([row["id"] for row in rows], f"`{name}` with the id", path)
    return rows


def _refuse_twice(values: Sequence[str], what: str, path: Path) -> None:
    """Refuse what is there twice, as when two files were joined: boxes would move from one video to the other."""
    twice = next((value for value, count in Counter(values).items() if count > 1), None)
    if twice is not None:
        raise CacError(
            f"{path}: more than one of {what} {printable(twice)}. Were files joined? Give the folder with all of them."
        )


def _name_of(video: Mapping[str, Any], path: Path) -> str:
    """Return a video's name; YouTube-VIS gives only the files of its frames, whose folder is the video."""
    name = as_text(video.get("file_name")) or as_text(video.get("name"))
    files = video.get("file_names")
    if name is None and isinstance(files, list) and files and as_text(files[0]):
        folder = str(PurePosixPath(files[0]).parent)
        name = folder if folder != "." else None
    if name is None:
        raise CacError(f"{path}: video {printable(video['id'])} has neither `name` nor `file_name`. Add one.")
    return name


def _frames(
    rows: Sequence[dict[str, Any]], names: Mapping[str, str], videos: dict[str, _Video], path: Path
) -> dict[str, _Frame]:
    """Return the images by their ids, and add the videos that only they name."""
    frames, unnamed = {}, 0
    for row in rows:
        try:
            frames[row["id"]] = frame = _frame(row, names, path)
        except UnusableError:
            unnamed += 1  # what is on it is refused below, but a frame alone says nothing
            continue
        video = videos.setdefault(frame.video, _Video())
        video.numbers.append(frame.number)
        video.unknown |= _unknown_keys(row, "an image")
    if unnamed and not frames:
        raise CacError(f"{path}: no image says which frame of a video it is. Give each a video_id and a frame_id.")
    return frames


def _frame(image: Mapping[str, Any], names: Mapping[str, str], path: Path) -> _Frame:
    file = PurePosixPath(str(image.get("file_name", "")))
    number = next((image[key] for key in ("frame_id", "frame_index") if image.get(key) is not None), None)
    if number is None:
        digits = _LAST_DIGITS.search(file.stem)
        number = digits and digits[1]
    if image.get("video_id") is not None:
        key = as_id(image["video_id"])
        video = names.get(key) if key is not None else None
        if video is None:
            raise UnusableError("no such video")
    else:
        video = str(file.parent) if file.name and str(file.parent) != "." else plain_name(path).stem
    return _Frame(video, as_frame(number), _size(image))


def _size(image: Mapping[str, Any]) -> Size | None:
    sides = image.get("width"), image.get("height")
    if None in sides:
        return None
    width, height = as_number(sides[0]), as_number(sides[1])
    if width <= 0 or height <= 0:
        raise UnusableError("an image without a size")
    return width, height


@dataclass(frozen=True)
class _Lookup:
    """What an annotation refers to."""

    frames: Mapping[str, _Frame]
    labels: Mapping[str, Any]
    names: Mapping[str, str]
    videos: Mapping[str, _Video]


def _gather(rows: Sequence[dict[str, Any]], lookup: _Lookup, path: Path) -> None:
    """Sort the annotations into their videos' tracks."""
    lost = 0
    for number, row in enumerate(rows):
        image, video = as_id(row.get("image_id")), as_id(row.get("video_id"))
        frame = lookup.frames.get(image) if image is not None else None
        name = frame.video if frame else lookup.names.get(video) if video is not None and image is None else None
        if name is None:
            lost += 1
            continue
        found = lookup.videos[name]
        try:
            if frame:
                _add(row, frame, lookup.labels, found.boxes)
            else:
                found.tracks.append(_track(row, lookup.labels, found, (str(path), number)))
        except UnusableError as error:
            found.boxes.refused.append(str(error))
    if lost:
        raise CacError(f"{path}: {lost} annotations are on no image that says its frame. Mend `image_id` or `images`.")


def _label(row: Mapping[str, Any], labels: Mapping[str, Any]) -> str:
    category = as_id(row.get("category_id"))
    label = as_text(labels.get(category)) if category is not None else None
    if label is None:
        raise UnusableError("an annotation without a known category")
    return label


def _add(row: Mapping[str, Any], frame: _Frame, labels: Mapping[str, Any], boxes: FrameBoxes) -> None:
    label, given = _label(row, labels), row.get("attributes")
    attributes = {str(name): _plain(value) for name, value in given.items()} if isinstance(given, dict) else {}
    track = next((_plain(one) for one in (row.get("track_id"), attributes.get("track_id")) if one is not None), None)
    if attributes.pop("outside", "") == "true":
        boxes.hidden.add((label, track))
        return
    box, changes = shape_box(row.get("bbox"), row.get("segmentation"))
    kept = {name: value for name, value in attributes.items() if name not in ("track_id", "keyframe")}
    boxes.add(label, track, (frame.number, frame.size), box, kept, (*changes, *_crowd(row)))


def _crowd(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (CROWD_CHANGE,) if row.get("iscrowd") in (1, True, "1") else ()


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _track(
    row: Mapping[str, Any], labels: Mapping[str, Any], video: _Video, name: tuple[str, int]
) -> ImportedAnnotation:
    """Return a track in the form of YouTube-VIS: a list of boxes or masks, one of each of the video's images."""
    label, files = _label(row, labels), video.facts.get("file_names")
    count = as_frame(video.facts.get("length", len(files) if isinstance(files, list) else 0))
    given = [row.get(key) if isinstance(row.get(key), list) else [None] * count for key in ("bboxes", "segmentations")]
    if not all(isinstance(one, list) and len(one) == count for one in given) or not count:
        raise UnusableError("a track with more or fewer entries than its video has images")
    boxes: dict[int, Box] = {}
    changes: set[str] = set(_crowd(row))
    for index, (bbox, segmentation) in enumerate(zip(*given, strict=True)):
        if bbox or segmentation:
            boxes[index], changed = shape_box(bbox or None, segmentation)
            changes.update(changed)
    if not boxes:
        raise UnusableError("a track that is never shown")
    size = _size({"width": row.get("width"), "height": row.get("height")}) or _size(video.facts)
    numbers = _file_numbers(files, count)
    return ImportedAnnotation(label, ListedBoxes(boxes, numbers, size), track=name, changes=tuple(sorted(changes)))


def _file_numbers(files: Any, count: int) -> tuple[int, ...]:
    """Return the last digits of each file's name, or the positions if some file has none."""
    names = files if isinstance(files, list) and len(files) == count else []
    digits = [_LAST_DIGITS.search(PurePosixPath(str(name)).stem) for name in names]
    return tuple(int(found[1]) for found in digits if found) if all(digits) and digits else tuple(range(count))


def _first_by_length(videos: Any) -> int | None:
    """Return 1 if a video's own `length` is the highest number of its frames, so that frames count from 1."""
    by_length = [video for video in videos if video.numbers and video.facts.get("length") == max(video.numbers)]
    return 1 if by_length else None


def _clip(name: str, video: _Video, where: str, unknown: set[str], first: int | None) -> ImportedClip:
    numbers = NumberedFrames(min(video.numbers, default=0), max(video.numbers, default=0), first)
    annotations = (*video.boxes.annotations(where, numbers), *video.tracks)
    generator, pair_id = as_text(video.facts.get("generator")), as_text(video.facts.get("pair_id"))
    parts = tuple(sorted(unknown | video.unknown))
    return ImportedClip(name, annotations, tuple(video.boxes.refused), parts, generator, pair_id)
