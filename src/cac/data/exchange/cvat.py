"""CVAT: "CVAT for video 1.1" XML, one file a video.

Only keyframes are read; the boxes between them are interpolated again, as CVAT displays them, because those that its
exports hold in between can be stale (cvat issue 3879). A track continues until an `outside` keyframe or the task's last
frame. Frame numbers are the video's. Older exports of tasks with a frame step or a start frame count the task's frames
(issue 764), which is detected by numbers that the step cannot give. Out of scope: shapes other than upright boxes, and
project exports, which mix videos.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree as ET

from cac.data.exchange.interchange import ImportedAnnotation, ImportedClip, Keyframe, Size, Track, UnusableError
from cac.data.exchange.parse import as_box, as_frame, as_number, read_bytes, source_files
from cac.data.exchange.runs import SALIENCY, FrameRun, frame_runs, keyframes, video_name
from cac.errors import CacError, printable
from cac.schema.annotations import Clip
from cac.schema.geometry import Box
from cac.schema.taxonomy import LEAVES

_CHUNK = 65_536


class _NoDoctype(ET.TreeBuilder):
    """Builds the tree of a document without a DTD: entities that blow up need one, and CVAT never writes one."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise CacError(f"it has a document type declaration ({printable(name)}), which CVAT never writes")


@dataclass(frozen=True)
class _Task:
    """What the meta part says: the first frame, step and end (exclusive) in the video's frames, and the frame count."""

    video: str
    size: Size | None
    start: int
    step: int
    stop: int | None
    count: int | None

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


def read(source: Path) -> list[ImportedClip]:
    """Return the clips of an XML file or of a folder of them.

    Raises:
        CacError: a file is no such XML.
    """
    return [_read_file(path) for path in source_files(source, ".xml")]


def _read_file(path: Path) -> ImportedClip:
    root = _parse(path)
    if root.tag != "annotations" or root.find("image") is not None or root.find("meta/project") is not None:
        raise CacError(f'{path} is no export of a video task. In CVAT, export each task as "CVAT for video 1.1".')
    task = _read_task(root, path)
    tracks = root.findall("track")
    try:
        offset, step = task.to_video(_frames(tracks))
    except UnusableError as error:
        return ImportedClip(task.video, unusable=str(error))
    annotations: list[ImportedAnnotation] = []
    refused: list[str] = []
    for number, track in enumerate(tracks):
        try:
            annotations += _read_track(track, task, (str(path), number), (offset, step))
        except UnusableError as error:
            refused.append(str(error))
    return ImportedClip(task.video, tuple(annotations), tuple(refused))


def _parse(path: Path) -> ET.Element:
    content = read_bytes(path)
    parser = ET.XMLParser(target=_NoDoctype())
    try:
        for start in range(0, len(content), _CHUNK):
            parser.feed(content[start : start + _CHUNK])
        return parser.close()
    except (ET.ParseError, ValueError, LookupError) as error:
        hint = " CVAT gives a zip: unpack it and name its annotations.xml." if content[:2] == b"PK" else ""
        raise CacError(f"{path} is no valid XML: {error}.{hint}") from error
    except CacError as error:
        raise CacError(f"{path} is refused: {error}. Export it again from CVAT.") from error


def _read_task(root: ET.Element, path: Path) -> _Task:
    meta = root.find("meta")
    texts = {} if meta is None else {element.tag: (element.text or "").strip() for element in meta.iter()}
    try:
        start = as_frame(texts.get("start_frame") or 0)
        stop = as_frame(texts["stop_frame"]) + 1 if texts.get("stop_frame") else None
        count = as_frame(texts["size"]) if texts.get("size") else None
        step = as_frame(texts.get("frame_filter", "").replace(" ", "").removeprefix("step=") or 1)
        size = _size(meta)
    except UnusableError as error:
        raise CacError(f"{path}: its meta part cannot be read ({error}). Export it again from CVAT.") from error
    if step < 1 or start < 0:
        raise CacError(f"{path}: start_frame {start} and step {step} are impossible. Export it again from CVAT.")
    # `size` is the number of frames of the task, `original_size` that of a frame in pixels.
    return _Task(texts.get("source") or path.stem, size, start, step, stop, count)


def _size(meta: ET.Element | None) -> Size | None:
    size = None if meta is None else next(meta.iter("original_size"), None)
    if size is None:
        return None
    width, height = as_number(size.findtext("width")), as_number(size.findtext("height"))
    if width <= 0 or height <= 0:
        raise UnusableError("original_size is not positive")
    return width, height


def _frames(tracks: Sequence[ET.Element]) -> list[int]:
    frames = []
    for shape in (shape for track in tracks for shape in track if "frame" in shape.attrib):
        try:
            frames.append(as_frame(shape.attrib["frame"]))
        except UnusableError:
            continue  # counted where its track is read
    return frames


def _read_track(
    track: ET.Element, task: _Task, name: tuple[str, int], to_video: tuple[int, int]
) -> list[ImportedAnnotation]:
    """Return the annotations of a track: one for each stretch in which its attributes stay the same."""
    label = track.get("label")
    if not label:
        raise UnusableError("a track without a label")
    other = next((shape.tag for shape in track if shape.tag != "box"), None)
    if other:
        raise UnusableError(f"a {printable(other)}, not a box")
    keys = sorted((_read_key(box, to_video) for box in track if box.get("keyframe", "1") == "1"), key=_frame_of)
    if not keys:
        raise UnusableError("a track without a keyframe")
    annotations, done = [], 0
    for attributes, group in groupby(keys, key=lambda entry: entry[1]):
        stretch = [key for key, _ in group]
        done += len(stretch)
        if any(key.shown for key in stretch):
            location = Track((*stretch, *_closing(keys[done:])), task.size, task.stop)
            annotations.append(ImportedAnnotation(label, location, dict(attributes), track=name))
    if not annotations:
        raise UnusableError("a track that is never shown")
    return annotations


_Entry = tuple[Keyframe, tuple[tuple[str, str], ...]]


def _frame_of(entry: _Entry) -> int:
    return entry[0].frame


def _read_key(box: ET.Element, to_video: tuple[int, int]) -> _Entry:
    if as_number(box.get("rotation", "0")) != 0:
        raise UnusableError("a rotated box")
    corners: Box = as_box([box.get(side) for side in ("xtl", "ytl", "xbr", "ybr")])
    seen = box.get("outside", "0") != "1"
    offset, step = to_video
    attributes = sorted((each.get("name", ""), each.text or "") for each in box.iter("attribute"))
    key = Keyframe(offset + step * as_frame(box.get("frame")), corners, shown=seen, continues=seen)
    return key, tuple(attributes)


def _closing(rest: Sequence[_Entry]) -> list[Keyframe]:
    """Return what ends a stretch: the keyframe after it, towards which its boxes move but which is not its own."""
    return [Keyframe(rest[0][0].frame, rest[0][0].box, shown=False, continues=False)] if rest else []


def write(clips: Sequence[Clip], folder: Path) -> None:
    """Write one XML a clip into the folder; runs of frames with boxes become tracks."""
    for clip in clips:
        root = ET.Element("annotations")
        ET.SubElement(root, "version").text = "1.1"
        _write_meta(root, clip)
        for number, run in enumerate(frame_runs(clip)):
            _write_track(root, clip, number, run)
        ET.indent(root)
        name = video_name(clip).removesuffix(".mp4").replace("/", "--") + ".xml"
        ET.ElementTree(root).write(folder / name, encoding="utf-8", xml_declaration=True)


def _write_meta(root: ET.Element, clip: Clip) -> None:
    meta = ET.SubElement(root, "meta")
    task = ET.SubElement(meta, "task")
    facts = {
        "name": clip.clip_id,
        "size": clip.frame_count,
        "mode": "interpolation",
        "start_frame": 0,
        "stop_frame": clip.frame_count - 1,
        "frame_filter": "",
    }
    for tag, value in facts.items():
        ET.SubElement(task, tag).text = str(value)
    labels = ET.SubElement(task, "labels")
    for leaf in LEAVES:
        label = ET.SubElement(labels, "label")
        ET.SubElement(label, "name").text = leaf
        attribute = ET.SubElement(ET.SubElement(label, "attributes"), "attribute")
        for tag, text in (("name", SALIENCY), ("mutable", "False"), ("input_type", "text"), ("default_value", "1.0")):
            ET.SubElement(attribute, tag).text = text
    size = ET.SubElement(task, "original_size")
    ET.SubElement(size, "width").text, ET.SubElement(size, "height").text = str(clip.width), str(clip.height)
    ET.SubElement(meta, "source").text = video_name(clip)


def _write_track(root: ET.Element, clip: Clip, number: int, run: FrameRun) -> None:
    track = ET.SubElement(root, "track", id=str(number), label=run.leaf, source="file")
    shapes = [(frame, box, "0") for frame, box in keyframes(run.boxes)]
    last = max(run.boxes)
    if last + 1 < clip.frame_count:  # there is no frame in which to end a track that reaches the last one
        shapes.append((last + 1, run.boxes[last], "1"))
    for frame, box, outside in shapes:
        pixels = (box[0] * clip.width, box[1] * clip.height, box[2] * clip.width, box[3] * clip.height)
        corners = zip(("xtl", "ytl", "xbr", "ybr"), (repr(round(value, 8)) for value in pixels), strict=True)
        places = {"frame": str(frame), "outside": outside, "occluded": "0", "keyframe": "1"} | dict(corners)
        element = ET.SubElement(track, "box", places, z_order="0")
        ET.SubElement(element, "attribute", name=SALIENCY).text = repr(run.saliency)
