"""Write COCO: every clip, every frame, and a row for each box."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cac.data.exchange.runs import FrameRun, attributes_of, frame_runs, video_name
from cac.schema.annotations import Clip
from cac.schema.taxonomy import LEAVES


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
            "attributes": attributes_of(run),
        }
