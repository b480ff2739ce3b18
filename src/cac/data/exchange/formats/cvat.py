"""CVAT: "CVAT for video 1.1" and "CVAT for images 1.1" XML, of a task or of a project, which is split by task.

Only keyframes are read; the boxes between them are interpolated again, as CVAT displays them, because those that its
exports hold in between can be stale (cvat issue 3879). A track continues until an `outside` keyframe, or the last frame
of the task or of the job that it was drawn in. Frame numbers are the video's. Older exports of tasks with a frame step
or a start frame count the task's frames (issue 764), which is detected by numbers that the step cannot give. A `<tag>`
is an annotation of its frame without a box. "CVAT for video 1.1" leaves tags out (issue 7198), so that a task whose
labels are tags and that shows nothing is not known to be clean.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET

from cac.data.exchange.formats.cvat_shapes import shape_box, shape_change
from cac.data.exchange.formats.cvat_tracks import CvatTrack, annotations_of, join_jobs, read_track
from cac.data.exchange.formats.frame_boxes import FrameBoxes
from cac.data.exchange.interchange import ImportedAnnotation, ImportedClip
from cac.data.exchange.locations import NORMALISED, WHOLE_FRAME, NumberedBoxes, NumberedFrames, Size
from cac.data.exchange.parse import as_frame, as_number, as_utf8, plain_name, read_bytes
from cac.data.exchange.unusable import UnusableError
from cac.errors import CacError, printable

SUFFIXES = (".xml",)
_CHUNK = 65_536
_KNOWN = {"version", "meta", "track", "image", "tag"}
_LAST_DIGITS = re.compile(r"(\d{1,15})\D*$", re.ASCII)
_LOST_TAGS = "its labels are tags, and this export has none: export it as CVAT for images 1.1"


class _NoDoctype(ET.TreeBuilder):
    """Builds the tree of a document without a DTD: entities that blow up need one, and CVAT never writes one."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise CacError(f"it has a document type declaration ({printable(name)}), which CVAT never writes")


@dataclass(frozen=True)
class _Task:
    """What the meta part says: the video's name if it does, the first frame, step and end in the video's frames, …"""

    video: str | None
    size: Size | None
    start: int
    step: int
    stop: int | None  # exclusive
    count: int | None
    segments: tuple[tuple[int, int], ...]
    has_tags: bool  # whether some of its labels can only be tags

    def to_video(self, frames: Iterable[int]) -> tuple[int, int]:
        """Return (offset, step) that turn the file's frame numbers into the video's.

        Raises:
            UnusableError: the numbers are neither the video's frames nor the task's.
        """
        numbers = list(frames)
        if all(frame >= self.start and (frame - self.start) % self.step == 0 for frame in numbers):
            return 0, 1
        # One more than the task has: where a track ends after its last frame.
        if self.count is None or max(numbers) <= self.count:
            return self.start, self.step
        raise UnusableError("its frame numbers fit neither the video nor the task's frame step")


@dataclass
class _Parts:
    """The elements of one task."""

    tracks: list[ET.Element] = field(default_factory=list)
    images: list[ET.Element] = field(default_factory=list)
    tags: list[ET.Element] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def frames(self) -> list[int]:
        """Return the numbers of all frames that are named; those that are no number are refused where they are read."""
        shapes = [shape for track in self.tracks for shape in track] + self.tags
        given = [shape.get("frame") for shape in shapes] + [image.get("id") for image in self.images]
        return [int(number) for number in given if number is not None and number.strip().lstrip("-").isdecimal()]


def read(path: Path) -> list[ImportedClip]:
    """Return the clips of an XML file: one, or one for each task of a project.

    Raises:
        CacError: it is no such XML.
    """
    root = _parse(path)
    if root.tag != "annotations":
        raise CacError(f'{path} is no export of CVAT. Export each task as "CVAT for video 1.1".')
    return [
        clip
        for number, (meta, parts) in enumerate(_tasks(root, path))
        for clip in _read_task(_read_meta(meta, path), parts, (str(path), number), path)
    ]


def _tasks(root: ET.Element, path: Path) -> list[tuple[ET.Element | None, _Parts]]:
    """Return the meta part and the elements of each task."""
    tasks = root.findall("meta/project/tasks/task")
    if root.find("meta/project") is None:
        return [(root.find("meta"), _parts_of(root))]
    by_id = {(task.findtext("id") or "").strip(): task for task in tasks}
    parts = {key: _Parts(unknown=_unknown_parts(root)) for key in by_id}
    for element in root:
        if element.tag in ("track", "image", "tag"):
            key = element.get("task_id", "" if len(by_id) > 1 else next(iter(by_id), ""))
            if key not in parts:
                raise CacError(f"{path}: a {element.tag} of no task of the project. Export each task by itself.")
            _list_of(parts[key], element).append(element)
    return [(task, parts[key]) for key, task in by_id.items()]


def _parts_of(root: ET.Element) -> _Parts:
    parts = _Parts(unknown=_unknown_parts(root))
    for element in root:
        if element.tag in ("track", "image", "tag"):
            _list_of(parts, element).append(element)
    return parts


def _list_of(parts: _Parts, element: ET.Element) -> list[ET.Element]:
    return {"track": parts.tracks, "image": parts.images, "tag": parts.tags}[element.tag]


def _unknown_parts(root: ET.Element) -> list[str]:
    return sorted({f"<{printable(element.tag)}>" for element in root if element.tag not in _KNOWN})


def _parse(path: Path) -> ET.Element:
    content = read_bytes(path)
    try:
        text, is_marked = as_utf8(content)
        # A byte order mark is right where the XML declaration is not: tools re-encode text and leave the declaration.
        parser = ET.XMLParser(target=_NoDoctype(), encoding="utf-8" if is_marked else None)
        for start in range(0, len(text), _CHUNK):
            parser.feed(text[start : start + _CHUNK])
        return parser.close()
    except (ET.ParseError, ValueError, LookupError) as error:
        raise CacError(f"{path} is no valid XML: {printable(str(error))}.") from error
    except CacError as error:
        raise CacError(f"{path} is refused: {error}. Export it again from CVAT.") from error


def _read_meta(meta: ET.Element | None, path: Path) -> _Task:
    texts = {} if meta is None else {element.tag: (element.text or "").strip() for element in meta.iter()}
    try:
        start = as_frame(texts.get("start_frame") or 0)
        stop = as_frame(texts["stop_frame"]) + 1 if texts.get("stop_frame") else None
        count = as_frame(texts["size"]) if texts.get("size") else None
        step = as_frame(texts.get("frame_filter", "").replace(" ", "").removeprefix("step=") or 1)
        size, segments = _size(meta), tuple(sorted(_segments(meta, start, step)))
    except UnusableError as error:
        raise CacError(f"{path}: its meta part cannot be read ({error}). Export it again from CVAT.") from error
    if step < 1 or start < 0:
        raise CacError(f"{path}: start_frame {start} and step {step} are impossible. Export it again from CVAT.")
    has_tags = meta is not None and any((label.findtext("type") or "").strip() == "tag" for label in meta.iter("label"))
    # `size` is the number of frames of the task, `original_size` that of a frame in pixels.
    return _Task(texts.get("source") or None, size, start, step, stop, count, segments, has_tags)


def _size(meta: ET.Element | None) -> Size | None:
    size = None if meta is None else next(meta.iter("original_size"), None)
    if size is None:
        return None
    width, height = as_number(size.findtext("width")), as_number(size.findtext("height"))
    if width <= 0 or height <= 0:
        raise UnusableError("original_size is not positive")
    return width, height


def _segments(meta: ET.Element | None, start: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last frame of each job, which count the task's frames, in the video's."""
    for segment in () if meta is None else meta.iter("segment"):
        first, last = as_frame(segment.findtext("start")), as_frame(segment.findtext("stop"))
        yield start + step * first, start + step * last


def _read_task(task: _Task, parts: _Parts, name: tuple[str, int], path: Path) -> list[ImportedClip]:
    if task.video is None and any("/" in image.get("name", "") for image in parts.images):
        return _read_image_folders(task, parts, name)
    video = (task.video or plain_name(path).stem).lstrip("/")
    try:
        to_video = task.to_video(parts.frames())
    except UnusableError as error:
        return [ImportedClip(video, unusable=str(error))]
    annotations, refused = _read_tracks(task, parts.tracks, name, to_video)
    images, in_images = _read_images(parts.images, to_video, name, None)
    tags, in_tags = _read_tags([(tag, tag.get("frame")) for tag in parts.tags], to_video, name, None)
    annotations += images + tags
    refused += in_images + in_tags
    if task.has_tags and not annotations and not refused:
        refused.append(_LOST_TAGS)
    return [ImportedClip(video, tuple(annotations), tuple(refused), tuple(parts.unknown))]


def _read_tracks(
    task: _Task, elements: Sequence[ET.Element], name: tuple[str, int], to_video: tuple[int, int]
) -> tuple[list[ImportedAnnotation], list[str]]:
    tracks: list[CvatTrack] = []
    refused: list[str] = []
    for number, element in enumerate(elements):
        try:
            tracks.append(read_track(element, (f"{name[0]}#{name[1]}", number), to_video))
        except UnusableError as error:
            refused.append(str(error))
    annotations: list[ImportedAnnotation] = []
    for track in join_jobs(tracks, task.segments):
        try:
            annotations += annotations_of(track, task.size, task.stop)
        except UnusableError as error:
            refused.append(str(error))
    return annotations, refused


def _read_image_folders(task: _Task, parts: _Parts, name: tuple[str, int]) -> list[ImportedClip]:
    """Return a clip for each folder of images of a task that names no video."""
    folders: dict[str, list[ET.Element]] = {}
    for image in parts.images:
        folders.setdefault(str(PurePosixPath(image.get("name", "")).parent).lstrip("/"), []).append(image)
    clips = []
    for folder, images in folders.items():
        for image in images:
            digits = _LAST_DIGITS.search(PurePosixPath(image.get("name", "")).stem)
            image.set("id", digits[1] if digits else "none")
        numbers = [int(image.get("id", "")) for image in images if image.get("id", "").isdecimal()]
        counted = NumberedFrames(min(numbers, default=0), max(numbers, default=0))
        annotations, refused = _read_images(images, (0, 1), name, counted)
        clips.append(ImportedClip(folder, tuple(annotations), tuple(refused), tuple(parts.unknown)))
    stray = [*parts.tracks, *parts.tags]
    return [ImportedClip(clip.video, unusable="tracks or tags of no image") for clip in clips] if stray else clips


def _read_images(
    images: Sequence[ET.Element], to_video: tuple[int, int], name: tuple[str, int], counted: NumberedFrames | None
) -> tuple[list[ImportedAnnotation], list[str]]:
    """Return the annotations of images, which have shapes without tracks; of all, if the frames' numbers are known."""
    boxes = FrameBoxes()
    tags: list[tuple[ET.Element, str | None]] = []
    offset, step = to_video
    for image in images:
        for shape in image:
            if shape.tag == "tag":
                tags.append((shape, image.get("id")))
                continue
            try:
                size = as_number(image.get("width")), as_number(image.get("height"))
                frame = offset + step * as_frame(image.get("id"))
                _add_shape(shape, (frame, size), boxes)
            except UnusableError as error:
                boxes.refused.append(str(error))
    annotations = boxes.annotations(name, counted or NumberedFrames(0, 0, first=0))
    found, refused = _read_tags(tags, to_video, name, counted)
    return annotations + found, boxes.refused + refused


def _add_shape(shape: ET.Element, frame: tuple[int, Size], boxes: FrameBoxes) -> None:
    box, label = shape_box(shape), shape.get("label")
    if not label:
        raise UnusableError("a shape without a label")
    if min(frame[1]) <= 0:
        raise UnusableError("an image without a size")
    attributes = {each.get("name", ""): each.text or "" for each in shape.findall("attribute")}
    track = attributes.pop("track_id", None)
    boxes.add(label, track, frame, box, attributes, shape_change(shape))


def _read_tags(
    tags: Sequence[tuple[ET.Element, str | None]],
    to_video: tuple[int, int],
    name: tuple[str, int],
    counted: NumberedFrames | None,
) -> tuple[list[ImportedAnnotation], list[str]]:
    """Return an annotation without a box for each tag of a frame; those of consecutive frames are one anomaly."""
    annotations, refused = [], []
    offset, step = to_video
    frames = counted or NumberedFrames(0, 0, first=0)
    for tag, frame in tags:
        try:
            label = tag.get("label")
            if not label:
                raise UnusableError("a tag without a label")
            location = NumberedBoxes({offset + step * as_frame(frame): WHOLE_FRAME}, frames, NORMALISED)
            attributes = {each.get("name", ""): each.text or "" for each in tag.findall("attribute")}
            annotations.append(
                ImportedAnnotation(label, location, attributes, track=(name, "tag", label), has_no_box=True)
            )
        except UnusableError as error:
            refused.append(str(error))
    return annotations, refused
