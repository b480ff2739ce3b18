"""Label Studio: its JSON export of video projects.

Read are `videorectangle` results (boxes), `timelinelabels` (ranges of frames) and `labels` with a start and an end
(ranges of seconds, the tool's own template of video timelines). A range of time has no box. Boxes are in percent,
frames count from 1, and a keyframe that is not `enabled` is the last one shown before a gap. The tool counts frames by
the rate its labelling config sets, whatever the video's is; where a region says how many it counted, its frames are
rescaled to the file's. Choices, taxonomies, texts, ratings and numbers of a region become attributes, named by their
`from_name`; those of a whole clip are remarks, which the label map translates: anomalies without a window. Out of
scope: predictions, JSON-MIN.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cac.data.exchange.interchange import ImportedAnnotation, ImportedClip
from cac.data.exchange.locations import PERCENT, Keyframe, Location, TimedBox, Track, WholeClip
from cac.data.exchange.parse import as_frame, as_list, as_number, as_text, read_records
from cac.data.exchange.unusable import UnusableError
from cac.errors import CacError, printable

SUFFIXES = (".json",)
_VIDEO_NAME = re.compile(r"\.(mp4|mov|webm|mkv|avi|m4v|gif)$", re.IGNORECASE)
_UPLOADED = re.compile(r"^/data/upload/(?:\d+/)?(?:[0-9a-f]{8}-)?")  # Label Studio puts eight hex digits before names
# The kinds of what an annotator says of a region or of the clip → the key of its value.
_REMARKS = {"choices": "choices", "taxonomy": "taxonomy", "number": "number", "rating": "rating", "textarea": "text"}
_NAMED_REMARKS = {"choices", "taxonomy"}  # their values are labels by themselves; a 3 or a text needs its question
_NAME = {"videorectangle": "labels", "timelinelabels": "timelinelabels", "labels": "labels"}


def read(path: Path) -> list[ImportedClip]:
    """Return a clip for each task of a JSON export.

    Raises:
        CacError: it is no such export.
    """
    return [_read_task(task, f"{path}, task {number}") for number, task in enumerate(read_records(path), start=1)]


def _read_task(task: Any, where: str) -> ImportedClip:
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict) or "annotations" not in task:
        raise CacError(f"{where}: no `data` and `annotations`. Export the project as JSON, not as JSON-MIN or CSV.")
    data = task["data"]
    url = _url_of(data)
    if url is None:
        raise CacError(f"{where}: its `data` names no video. The value of the key `video` should be a file or URL.")
    generator, pair_id = as_text(data.get("generator")), as_text(data.get("pair_id"))
    clip = ImportedClip(_path_of(url), generator=generator, pair_id=pair_id, address=url)
    try:
        annotations, refused = _read_answers(as_list(task["annotations"], "annotations", Path(where)))
    except UnusableError as error:
        return replace(clip, unusable=str(error))
    return replace(clip, annotations=tuple(annotations), refused=tuple(refused + _drafts(task.get("drafts"))))


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


def _drafts(drafts: Any) -> list[str]:
    """Return a refusal if somebody drew something and did not submit it."""
    open_ones = isinstance(drafts, list) and any(isinstance(one, dict) and one.get("result") for one in drafts)
    return ["a draft that was not submitted"] if open_ones else []


def _read_answers(annotations: Sequence[Any]) -> tuple[list[ImportedAnnotation], list[str]]:
    """Return what the annotation that counts says: the ground truth, or what all annotators agree on.

    Raises:
        UnusableError: there is no annotation, or annotators differ and none is the ground truth.
    """
    done = [one for one in annotations if isinstance(one, dict) and not one.get("was_cancelled")]
    if not done:
        raise UnusableError("not annotated yet")
    truth = [one for one in done if one.get("ground_truth")]
    read = [_read_results(_results(one)) for one in (truth if len(truth) == 1 else done)]
    if any(_sorted(one) != _sorted(read[0]) for one in read):
        raise UnusableError("annotators who differ, and not one of them is marked as ground truth")
    return read[0]


def _sorted(answer: tuple[list[ImportedAnnotation], list[str]]) -> tuple[list[str], list[str]]:
    return sorted(map(repr, answer[0])), sorted(answer[1])


def _results(annotation: Mapping[str, Any]) -> list[dict[str, Any]]:
    results = annotation.get("result")
    if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
        raise UnusableError("its results are no list of objects")
    return results


def _read_results(results: Sequence[dict[str, Any]]) -> tuple[list[ImportedAnnotation], list[str]]:
    counted, names = _counted(results), _labels_by_region(results)
    regions = {_id_of(result, number) for number, result in enumerate(results) if _is_region(result)}
    own = _attributes(results, regions)
    annotations: list[ImportedAnnotation] = []
    refused: list[str] = []
    for number, result in enumerate(results):
        key = _id_of(result, number)
        try:
            if _is_region(result):
                annotations += _read_region(result, counted, own[key], names[key])
            elif result.get("type") in _REMARKS and key not in regions:
                annotations += _read_remark(result)
            elif result.get("type") not in _REMARKS and not (result.get("type") == "labels" and key in regions):
                raise UnusableError(f"a {printable(str(result.get('type')))} is neither a box nor a range of time")
        except UnusableError as error:
            refused.append(str(error))
    return annotations, refused


def _id_of(result: Mapping[str, Any], number: int) -> str:
    return str(result.get("id", number))


def _is_region(result: Mapping[str, Any]) -> bool:
    """Whether a result is a box or a range of time; `labels` may also only name the region of its id."""
    value = result.get("value")
    times = isinstance(value, dict) and "start" in value and "end" in value
    return result.get("type") in ("videorectangle", "timelinelabels") or (result.get("type") == "labels" and times)


def _labels_by_region(results: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Return region id → labels that a result of its own gives it."""
    found: dict[str, list[str]] = defaultdict(list)
    for number, result in enumerate(results):
        value = result.get("value")
        if result.get("type") == "labels" and not _is_region(result) and isinstance(value, dict):
            found[_id_of(result, number)] += _texts(value.get("labels"))
    return found


def _attributes(results: Iterable[dict[str, Any]], regions: set[str]) -> dict[str, dict[str, str]]:
    """Return region id → attributes: what the annotator chose or typed for it."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for result in results:
        key = str(result.get("id"))
        if result.get("type") in _REMARKS and key in regions:
            for one in _said(result):
                found[key][str(result.get("from_name"))] = one
    return found


def _said(result: Mapping[str, Any]) -> list[str]:
    """Return what a remark says, as texts; a taxonomy's path is joined by slashes."""
    kind, value = str(result.get("type")), result.get("value")
    chosen = value.get(_REMARKS[kind]) if isinstance(value, dict) else None
    listed = chosen if isinstance(chosen, list) else [] if chosen is None else [chosen]
    said = ["/".join(map(str, one)) if isinstance(one, list) else str(one) for one in listed]
    if not said:
        raise UnusableError(f"a {kind} without a value")
    return said


def _read_remark(result: Mapping[str, Any]) -> list[ImportedAnnotation]:
    """Return what was chosen or typed for the whole clip, each an annotation that says neither when nor where."""
    kind, name = result.get("type"), str(result.get("from_name"))
    return [
        ImportedAnnotation(
            one if kind in _NAMED_REMARKS else f"{name}={one}",
            WholeClip(),
            {name: one},
            track=("remark", name, one),
            has_no_box=True,
            is_remark=True,
        )
        for one in _said(result)
    ]


def _counted(results: Iterable[dict[str, Any]]) -> int | None:
    """Return how many frames the tool counted in the video, if a region says so."""
    for result in results:
        value = result.get("value")
        count = value.get("framesCount") if isinstance(value, dict) else None
        if isinstance(count, int) and not isinstance(count, bool) and count > 0:
            return count
    return None


def _texts(labels: Any) -> list[str]:
    return labels if isinstance(labels, list) and all(isinstance(label, str) for label in labels) else []


def _read_region(
    result: Mapping[str, Any], counted: int | None, attributes: Mapping[str, str], names: Sequence[str]
) -> list[ImportedAnnotation]:
    kind, value = str(result.get("type")), result.get("value")
    if not isinstance(value, dict):
        raise UnusableError(f"a {kind} without a value")
    labels = _texts(value.get(_NAME[kind])) or names
    if not labels:
        raise UnusableError("a region without a label")
    locations = _rectangles(value, counted) if kind == "videorectangle" else _ranges(value, counted)
    return [
        ImportedAnnotation(label, location, attributes, has_no_box=kind != "videorectangle")
        for location in locations
        for label in labels
    ]


def _rectangles(value: Mapping[str, Any], counted: int | None) -> list[Location]:
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


def _ranges(value: Mapping[str, Any], counted: int | None) -> list[Location]:
    """Return the ranges of frames, counted from 1, or the one in seconds."""
    if "ranges" not in value and "start" in value:
        return [_seconds(value)]
    ranges = value.get("ranges")
    if not isinstance(ranges, list) or not ranges or not all(isinstance(one, dict) for one in ranges):
        raise UnusableError("a range of time without start and end")
    return [_range(as_frame(one.get("start")) - 1, as_frame(one.get("end")) - 1, counted) for one in ranges]


def _seconds(value: Mapping[str, Any]) -> TimedBox:
    start, end = as_number(value.get("start")), as_number(value.get("end"))
    if end < start:
        raise UnusableError("a range of time ends before it starts")
    return TimedBox((start, end))


def _range(first: int, last: int, counted: int | None) -> Track:
    if last < first:
        raise UnusableError("a range of time ends before it starts")
    everywhere = (0.0, 0.0, 100.0, 100.0)
    return Track(
        (Keyframe(first, everywhere), Keyframe(last, everywhere, continues=False)), PERCENT, tool_frame_count=counted
    )
