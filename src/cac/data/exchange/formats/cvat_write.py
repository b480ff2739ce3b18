"""Write "CVAT for video 1.1" XML, one file a clip; runs of frames become tracks."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from cac.data.exchange.runs import (
    BOXLESS,
    SALIENCY,
    WINDOWLESS,
    FrameRun,
    attributes_of,
    frame_runs,
    keyframes,
    video_name,
)
from cac.schema.annotations import Clip
from cac.schema.taxonomy import LEAVES

_ATTRIBUTES = ((SALIENCY, "text", "1.0"), (BOXLESS, "checkbox", "false"), (WINDOWLESS, "checkbox", "false"))


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
        attributes = ET.SubElement(label, "attributes")
        for name, kind, default in _ATTRIBUTES:
            attribute = ET.SubElement(attributes, "attribute")
            values = (("name", name), ("mutable", "False"), ("input_type", kind), ("default_value", default))
            for tag, text in values:
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
        for name, value in attributes_of(run).items():
            ET.SubElement(element, "attribute", name=name).text = str(value).lower()
