"""COCO: JSON with boxes in pixels, a row a frame, in the forms videos are kept in.

A frame belongs to the video its `video_id` names, with a `frame_id` that counts from 0 (the convention of video COCO);
or to the folder in its `file_name`, or to the JSON's own name, with the last digits of the file's name as its number
(what Datumaro and CVAT export frame by frame). Boxes with one `track_id` are one track; without it those of one
category are, if no frame has two of them. Out of scope: masks, keypoints, and tracks in one row (YouTube-VIS).
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from cac.data.exchange.interchange import ImportedAnnotation, ImportedClip, Size, Track, UnusableError, single_keyframes
from cac.data.exchange.parse import as_box, as_frame, as_list, as_number, as_text, read_json, source_files
from cac.data.exchange.runs import SALIENCY, FrameRun, frame_runs, video_name
from cac.errors import CacError
from cac.schema.annotations import Clip
from cac.schema.geometry import Box
from cac.schema.taxonomy import LEAVES

_LAST_DIGITS = re.compile(r"(\d{1,15})\D*$", re.ASCII)


@dataclass(frozen=True)
class _Frame:
    video: str
    number: int
    size: Size | None


class _Key(NamedTuple):
    label: str
    track: str | None
    size: Size | None
    attributes: tuple[tuple[str, str], ...]


@dataclass
class _Video:
    """What is gathered of one video: boxes by track and attributes, and the reasons of what is refused."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    boxes: dict["_Key", dict[int, Box]] = field(default_factory=lambda: defaultdict(dict))
    refused: list[str] = field(default_factory=list)
    seen: set[tuple[str, str | None, int]] = field(default_factory=set)
    mixed: set[tuple[str, str | None]] = field(default_factory=set)  # label and track with two boxes in a frame


def read(source: Path) -> list[ImportedClip]:
    """Return the clips of a JSON file or of a folder of them.

    Raises:
        CacError: a file is no such JSON.
    """
    return [clip for path in source_files(source, ".json") for clip in _read_file(path)]


def _read_file(path: Path) -> Iterator[ImportedClip]:
    content = read_json(path)
    if not isinstance(content, dict) or "images" not in content or "annotations" not in content:
        raise CacError(f"{path}: no `images` and `annotations`. Is this a COCO file of instances?")
    rows = {name: _rows(content.get(name, []), name, path) for name in _TABLES}
    names = {row["id"]: _name_of(row, path) for row in rows["videos"]}
    _refuse_twice(list(names.values()), "the videos named", path)
    videos = {names[row["id"]]: _Video(row) for row in rows["videos"]}
    frames, unnamed = {}, 0
    for row in rows["images"]:
        try:
            frames[row["id"]] = frame = _frame(row, names, path)
            videos.setdefault(frame.video, _Video())
        except UnusableError:
            unnamed += 1  # what is on it is refused below, but a frame alone says nothing
    if unnamed and not frames:
        raise CacError(f"{path}: no image says which frame of a video it is. Give each a video_id and a frame_id.")
    labels = {row["id"]: row.get("name") for row in rows["categories"]}
    _gather(rows["annotations"], frames, labels, videos, path)
    for name, video in videos.items():
        yield _clip(name, video, str(path))


_TABLES = ("videos", "images", "annotations", "categories")


def _rows(value: Any, name: str, path: Path) -> list[dict[str, Any]]:
    rows = as_list(value, f"`{name}`", path)
    for number, row in enumerate(rows):
        # Nothing refers to an annotation.
        if not isinstance(row, dict) or not (name == "annotations" or _is_id(row.get("id"))):
            raise CacError(f"{path}: entry {number} of `{name}` is no object with an `id`. Export it again.")
    if name != "annotations":
        _refuse_twice([row["id"] for row in rows], f"`{name}` with the id", path)
    return rows


def _refuse_twice(values: Sequence[Any], what: str, path: Path) -> None:
    """Refuse what is there twice, as when two files were joined: boxes would move from one video to the other."""
    twice = next((value for value, count in Counter(values).items() if count > 1), None)
    if twice is not None:
        raise CacError(
            f"{path}: more than one of {what} {twice!r}. Were files joined? Give the folder with all of them."
        )


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)


def _name_of(video: Mapping[str, Any], path: Path) -> str:
    name = as_text(video.get("file_name")) or as_text(video.get("name"))
    if name is None:
        raise CacError(f"{path}: video {video['id']!r} has neither `name` nor `file_name`. Add one.")
    return name


def _frame(image: Mapping[str, Any], names: Mapping[Any, str], path: Path) -> _Frame:
    file = PurePosixPath(str(image.get("file_name", "")))
    number = next((image[key] for key in ("frame_id", "frame_index") if image.get(key) is not None), None)
    if number is None:
        digits = _LAST_DIGITS.search(file.stem)
        number = digits and digits[1]
    if image.get("video_id") is not None:
        video = names.get(image["video_id"]) if _is_id(image["video_id"]) else None
        if video is None:
            raise UnusableError("no such video")
    else:
        video = str(file.parent) if file.name and str(file.parent) != "." else path.stem
    return _Frame(video, as_frame(number), _size(image))


def _size(image: Mapping[str, Any]) -> Size | None:
    sides = image.get("width"), image.get("height")
    if None in sides:
        return None
    width, height = as_number(sides[0]), as_number(sides[1])
    if width <= 0 or height <= 0:
        raise UnusableError("an image without a size")
    return width, height


def _gather(
    rows: Sequence[dict[str, Any]],
    frames: Mapping[Any, _Frame],
    labels: Mapping[Any, Any],
    videos: Mapping[str, _Video],
    path: Path,
) -> None:
    """Sort the annotations into their videos' tracks."""
    lost = 0
    for row in rows:
        image = row.get("image_id")
        frame = frames.get(image) if _is_id(image) else None
        if frame is None:
            lost += 1
            continue
        try:
            _add(row, frame, labels, videos[frame.video])
        except UnusableError as error:
            videos[frame.video].refused.append(str(error))
    if lost:
        raise CacError(f"{path}: {lost} annotations are on no image that says its frame. Mend `image_id` or `images`.")


def _add(row: Mapping[str, Any], frame: _Frame, labels: Mapping[Any, Any], video: _Video) -> None:
    category = row.get("category_id")
    label = as_text(labels.get(category)) if _is_id(category) else None
    if label is None:
        raise UnusableError("an annotation without a known category")
    if "bbox" not in row:
        raise UnusableError("an annotation without a bbox")
    x, y, width, height = as_box(row["bbox"])
    if width < 0 or height < 0:
        raise UnusableError("a box with a negative side")
    given = row.get("attributes")
    attributes = {str(name): _plain(value) for name, value in given.items()} if isinstance(given, dict) else {}
    if attributes.pop("outside", "") == "true":
        return
    track = next((_plain(one) for one in (row.get("track_id"), attributes.get("track_id")) if one is not None), None)
    if (label, track, frame.number) in video.seen:
        video.mixed.add((label, track))
    video.seen.add((label, track, frame.number))
    kept = tuple(sorted(item for item in attributes.items() if item[0] not in ("track_id", "keyframe")))
    key = _Key(label, track, frame.size, kept)
    video.boxes[key][frame.number] = (x, y, x + width, y + height)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _clip(name: str, video: _Video, where: str) -> ImportedClip:
    annotations = []
    for key, boxes in video.boxes.items():
        if (key.label, key.track) in video.mixed:
            continue
        location = Track(single_keyframes(boxes), key.size)
        annotations.append(
            ImportedAnnotation(key.label, location, dict(key.attributes), track=(where, key.label, key.track))
        )
    video.refused += ["a label with several boxes in one frame, and no track_id to distinguish them"] * len(video.mixed)
    facts = {"generator": as_text(video.facts.get("generator")), "pair_id": as_text(video.facts.get("pair_id"))}
    return ImportedClip(name, tuple(annotations), tuple(video.refused), **facts)


def write(clips: Sequence[Clip], path: Path) -> None:
    """Write all clips as one video COCO: every clip, every frame, and a row for each box."""
    categories = [{"id": number, "name": leaf} for number, leaf in enumerate(LEAVES, start=1)]
    content: dict[str, list[dict[str, Any]]] = {"videos": [], "images": [], "annotations": [], "categories": categories}
    for number, clip in enumerate(clips, start=1):
        content["videos"].append(_video_row(number, clip))
        first = len(content["images"]) + 1
        content["images"] += [_image_row(first + frame, number, frame, clip) for frame in range(clip.frame_count)]
        for track, run in enumerate(frame_runs(clip)):
            content["annotations"] += _box_rows(len(content["annotations"]) + 1, first, track, run, clip)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _video_row(number: int, clip: Clip) -> dict[str, Any]:
    sizes = {"width": clip.width, "height": clip.height, "fps": clip.fps, "length": clip.frame_count}
    return {"id": number, "name": video_name(clip), "generator": clip.generator, "pair_id": clip.pair_id} | sizes


def _image_row(image: int, video: int, frame: int, clip: Clip) -> dict[str, Any]:
    name = f"{video_name(clip).removesuffix('.mp4')}/{frame:06d}.png"
    sizes = {"width": clip.width, "height": clip.height}
    return {"id": image, "video_id": video, "frame_id": frame, "file_name": name} | sizes


def _box_rows(number: int, first: int, track: int, run: FrameRun, clip: Clip) -> Iterator[dict[str, Any]]:
    category = list(LEAVES).index(run.leaf) + 1
    for offset, (frame, box) in enumerate(sorted(run.boxes.items())):
        x, y = box[0] * clip.width, box[1] * clip.height
        width, height = (box[2] - box[0]) * clip.width, (box[3] - box[1]) * clip.height
        yield {
            "id": number + offset,
            "image_id": first + frame,
            "category_id": category,
            "track_id": track,
            "bbox": [round(value, 8) for value in (x, y, width, height)],
            "area": round(width * height, 4),
            "iscrowd": 0,
            "attributes": {SALIENCY: run.saliency},
        }
