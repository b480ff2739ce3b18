"""Write Label Studio tasks with one annotation each, in the form that the tool imports again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cac.data.exchange.runs import SALIENCY, WINDOWLESS, FrameRun, frame_runs, keyframes, video_name
from cac.schema.annotations import Clip


def write(clips: Sequence[Clip], path: Path) -> None:
    """Write all clips as tasks: boxes as video rectangles, windows without boxes as timeline labels."""
    tasks = [_task(number, clip) for number, clip in enumerate(clips, start=1)]
    path.write_text(json.dumps(tasks, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _task(number: int, clip: Clip) -> dict[str, Any]:
    results = [
        result for index, run in enumerate(frame_runs(clip)) for result in _region(clip, f"{number}-{index}", run)
    ]
    return {
        "id": number,
        "data": {"video": video_name(clip), "generator": clip.generator, "pair_id": clip.pair_id},
        "annotations": [{"id": number, "was_cancelled": False, "ground_truth": False, "result": results}],
    }


def _region(clip: Clip, region: str, run: FrameRun) -> list[dict[str, Any]]:
    counted = {"framesCount": clip.frame_count, "duration": clip.duration}
    common = {"id": region, "to_name": "video"}
    if run.has_boxes:
        value = counted | {"sequence": _sequence(clip, run), "labels": [run.leaf]}
        drawn = common | {"type": "videorectangle", "from_name": "box", "value": value}
    else:
        ranges = [{"start": min(run.boxes) + 1, "end": max(run.boxes) + 1}]
        value = counted | {"ranges": ranges, "timelinelabels": [run.leaf]}
        drawn = common | {"type": "timelinelabels", "from_name": "span", "value": value}
    saliency = {"type": "number", "from_name": SALIENCY, "value": counted | {"number": run.saliency}}
    windowless = {"type": "choices", "from_name": WINDOWLESS, "value": counted | {"choices": ["true"]}}
    return [drawn, common | saliency, *([] if run.has_window else [common | windowless])]


def _sequence(clip: Clip, run: FrameRun) -> list[dict[str, Any]]:
    last = max(run.boxes)
    return [
        {
            "frame": frame + 1,
            "time": (frame + 1) / clip.fps,
            "enabled": frame != last,
            "rotation": 0,
            "x": round(box[0] * 100, 8),
            "y": round(box[1] * 100, 8),
            "width": round((box[2] - box[0]) * 100, 8),
            "height": round((box[3] - box[1]) * 100, 8),
        }
        for frame, box in keyframes(run.boxes)
    ]
