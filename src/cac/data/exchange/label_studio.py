"""Label Studio: its JSON export of video projects, `videorectangle` and `timelinelabels` results.

Boxes are in percent, frames count from 1, and a keyframe that is not `enabled` is the last one shown before a gap. The
tool counts frames by the rate its labelling config sets, whatever the video's is; where a region says how many it
counted, its frames are rescaled to the file's. A range of time has no box, so its box is the whole frame. Choices and
numbers of a region become attributes, named by their `from_name`. Out of scope: predictions, JSON-MIN.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cac.data.exchange.interchange import PERCENT, ImportedAnnotation, ImportedClip, Keyframe, Track, UnusableError
from cac.data.exchange.parse import as_frame, as_list, as_number, as_text, read_records, source_files
from cac.data.exchange.runs import SALIENCY, FrameRun, frame_runs, keyframes, video_name
from cac.errors import CacError, printable
from cac.schema.annotations import Clip

_VIDEO_NAME = re.compile(r"\.(mp4|mov|webm|mkv|avi|m4v|gif)$", re.IGNORECASE)
_UPLOADED = re.compile(r"^/data/upload/(?:\d+/)?(?:[0-9a-f]{8}-)?")  # Label Studio puts eight hex digits before names
_ATTRIBUTES = {"choices", "number", "rating", "textarea"}
_NO_REGIONS = _ATTRIBUTES | {"labels", "relation", "taxonomy", "pairwise"}


def read(source: Path) -> list[ImportedClip]:
    """Return a clip for each task of a JSON export or of a folder of them.

    Raises:
        CacError: a file is no such export.
    """
    tasks = [
        _read_task(task, f"{path}, task {number}")
        for path in source_files(source, ".json")
        for number, task in enumerate(read_records(path), start=1)
    ]
    urls: dict[str, set[str]] = defaultdict(set)
    for url, clip in tasks:
        urls[clip.video].add(url)
    mixed = "different videos of one name: give them names of their own"
    return [clip if len(urls[clip.video]) == 1 else replace(clip, unusable=mixed) for _, clip in tasks]


def _read_task(task: Any, where: str) -> tuple[str, ImportedClip]:
    """Return the task's URL of its video, and the clip by the name in it."""
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict) or "annotations" not in task:
        raise CacError(f"{where}: no `data` and `annotations`. Export the project as JSON, not as JSON-MIN or CSV.")
    data = task["data"]
    url = _url_of(data)
    if url is None:
        raise CacError(f"{where}: its `data` names no video. The value of the key `video` should be a file or URL.")
    video = _path_of(url)
    facts = {"generator": as_text(data.get("generator")), "pair_id": as_text(data.get("pair_id"))}
    try:
        results = _results(as_list(task["annotations"], "annotations", Path(where)))
    except UnusableError as error:
        return url, ImportedClip(video, (), (), unusable=str(error), **facts)
    annotations, refused = _read_results(results)
    return url, ImportedClip(video, tuple(annotations), tuple(refused), **facts)


def _url_of(data: Mapping[str, Any]) -> str | None:
    values = [data.get("video"), *data.values()]
    return next((value for value in values if isinstance(value, str) and _VIDEO_NAME.search(_path_of(value))), None)


def _path_of(url: str) -> str:
    """Return the file a URL of Label Studio or of a bucket names; anything else stays as it is."""
    if url.startswith("/data/local-files/"):
        return parse_qs(urlsplit(url).query).get("d", [""])[0].lstrip("/")
    if url.startswith("/data/upload/"):
        return _UPLOADED.sub("", unquote(url))
    if "://" in url:
        return unquote(url.partition("?")[0]).rpartition("/")[2]
    return url


def _results(annotations: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the results of the one annotation that counts.

    Raises:
        UnusableError: there is none, or more than one.
    """
    done = [one for one in annotations if isinstance(one, dict) and not one.get("was_cancelled")]
    truth = [one for one in done if one.get("ground_truth")]
    if not done:
        raise UnusableError("not annotated yet")
    if len(done) > 1 and len(truth) != 1:
        raise UnusableError("several annotations, and not one of them is marked as ground truth")
    results = (truth or done)[0].get("result")
    if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
        raise UnusableError("its results are no list of objects")
    return results


def _read_results(results: Sequence[dict[str, Any]]) -> tuple[list[ImportedAnnotation], list[str]]:
    attributes, counted = _attributes(results), _counted(results)
    annotations: list[ImportedAnnotation] = []
    refused: list[str] = []
    for number, result in enumerate(results):
        kind, value = str(result.get("type")), result.get("value")
        if kind in _NO_REGIONS:
            continue
        try:
            if kind not in _READ_LOCATIONS or not isinstance(value, dict):
                raise UnusableError(f"a {printable(kind)} is neither a box nor a range of time")
            own = attributes[str(result.get("id", number))]
            has_no_box = kind == "timelinelabels"
            for location in _READ_LOCATIONS[kind](value, counted):
                annotations += [
                    ImportedAnnotation(label, location, own, has_no_box=has_no_box) for label in _labels(value, kind)
                ]
        except UnusableError as error:
            refused.append(str(error))
    return annotations, refused


def _attributes(results: Iterable[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Return region id → attributes: what the annotator chose or typed for it."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for result in results:
        kind, value = result.get("type"), result.get("value")
        if kind in _ATTRIBUTES and isinstance(value, dict):
            chosen = value.get("text" if kind == "textarea" else kind)
            for one in chosen if isinstance(chosen, list) else [chosen]:
                found[str(result.get("id"))][str(result.get("from_name"))] = str(one)
    return found


def _counted(results: Iterable[dict[str, Any]]) -> int | None:
    """Return how many frames the tool counted in the video, if a region says so."""
    for result in results:
        value = result.get("value")
        count = value.get("framesCount") if isinstance(value, dict) else None
        if isinstance(count, int) and not isinstance(count, bool) and count > 0:
            return count
    return None


def _labels(value: Mapping[str, Any], kind: str) -> list[str]:
    labels = value.get("timelinelabels" if kind == "timelinelabels" else "labels")
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise UnusableError("a region without a label")
    return labels


def _rectangles(value: Mapping[str, Any], counted: int | None) -> list[Track]:
    sequence = value.get("sequence")
    if not isinstance(sequence, list) or not sequence:
        raise UnusableError("a region without keyframes")
    return [Track(tuple(_read_key(key) for key in sequence), PERCENT, tool_frame_count=counted)]


def _read_key(key: Any) -> Keyframe:
    if not isinstance(key, dict):
        raise UnusableError("a keyframe is no object")
    if as_number(key.get("rotation") or 0) != 0:
        raise UnusableError("a rotated box")
    x, y, width, height = (as_number(key.get(name)) for name in ("x", "y", "width", "height"))
    box = (x, y, x + width, y + height)
    return Keyframe(as_frame(key.get("frame")) - 1, box, continues=key.get("enabled", True) is True)


def _ranges(value: Mapping[str, Any], counted: int | None) -> list[Track]:
    ranges = value.get("ranges")
    if not isinstance(ranges, list) or not ranges or not all(isinstance(one, dict) for one in ranges):
        raise UnusableError("a range of time without start and end")
    return [_range(as_frame(one.get("start")) - 1, as_frame(one.get("end")) - 1, counted) for one in ranges]


def _range(first: int, last: int, counted: int | None) -> Track:
    if last < first:
        raise UnusableError("a range of time ends before it starts")
    everywhere = (0.0, 0.0, 100.0, 100.0)
    return Track(
        (Keyframe(first, everywhere), Keyframe(last, everywhere, continues=False)), PERCENT, tool_frame_count=counted
    )


_READ_LOCATIONS = {"videorectangle": _rectangles, "timelinelabels": _ranges}


def write(clips: Sequence[Clip], path: Path) -> None:
    """Write all clips as tasks with one annotation each, in the form that Label Studio imports again."""
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
    last = max(run.boxes)
    sequence = [
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
    counted = {"framesCount": clip.frame_count, "duration": clip.duration}
    common = {"id": region, "to_name": "video"}
    value = counted | {"sequence": sequence, "labels": [run.leaf]}
    return [
        common | {"type": "videorectangle", "from_name": "box", "value": value},
        common | {"type": "number", "from_name": SALIENCY, "value": counted | {"number": run.saliency}},
    ]
