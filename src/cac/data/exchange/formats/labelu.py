"""LabelU (OpenDataLab): segments and frames of videos in seconds, tags and texts of whole videos; all without boxes.

Read are its JSON export, a list of `{"fileName", "result"}` whose `result` is JSON again, and its JSON lines of
`{"sample_name", "annotations"}`. Fields as in the tool's documentation of both. A tag or a text is a remark, which the
label map translates: an anomaly without a window. An export does not say whether anybody looked at a video without
annotations, so that such a video is refused. Out of scope: images and audio.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cac.data.exchange.interchange import ImportedAnnotation, ImportedClip
from cac.data.exchange.locations import TimedBox, WholeClip
from cac.data.exchange.parse import as_number, as_text, read_records
from cac.data.exchange.unusable import UnusableError
from cac.errors import CacError, printable

SUFFIXES = (".json", ".jsonl")
_SEGMENT, _FRAME, _TAG, _TEXT = "videoSegmentTool", "videoFrameTool", "tagTool", "textTool"


def read(path: Path) -> list[ImportedClip]:
    """Return a clip for each sample of a file.

    Raises:
        CacError: it is no such file.
    """
    return [_read_sample(one, f"{path}, sample {number}") for number, one in enumerate(read_records(path), start=1)]


def _read_sample(sample: Any, where: str) -> ImportedClip:
    names = [as_text(sample.get(key)) for key in ("fileName", "sample_name")] if isinstance(sample, dict) else []
    video = next(filter(None, names), None)
    if video is None:
        raise CacError(f"{where}: neither `fileName` nor `sample_name`. Export the task as JSON.")
    try:
        tools = list(_tools(_content(sample)))
    except UnusableError as error:
        return ImportedClip(video, unusable=str(error))
    annotations: list[ImportedAnnotation] = []
    refused: list[str] = []
    for tool, result in tools:
        try:
            annotations += _read_result(tool, result)
        except UnusableError as error:
            refused.append(str(error))
    if not annotations and not refused:
        refused.append("no annotation, and nothing says that somebody looked")
    return ImportedClip(video, tuple(annotations), tuple(refused))


def _content(sample: Mapping[str, Any]) -> Any:
    """Return a sample's annotations: by tool, or a list of tools."""
    if "annotations" in sample:
        return sample["annotations"]
    try:
        result = sample.get("result")
        content = json.loads(result) if isinstance(result, str) else result
    except (ValueError, RecursionError) as error:
        raise UnusableError("a result that is no JSON") from error
    return content.get("annotations") if isinstance(content, dict) else None


def _tools(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name of the tool and each of its results."""
    listed = list(content.values()) if isinstance(content, dict) else content
    if not isinstance(listed, list) or not all(isinstance(tool, dict) for tool in listed):
        raise UnusableError("not annotated yet")
    for tool in listed:
        results = tool.get("result")
        if not isinstance(results, list):
            raise UnusableError("a tool without a list of results")
        for result in results:
            yield str(tool.get("toolName")), result


def _read_result(tool: str, result: Any) -> list[ImportedAnnotation]:
    if not isinstance(result, dict):
        raise UnusableError("a result that is no object")
    if tool in (_TAG, _TEXT):
        return _remarks(tool, result.get("value"))
    if tool not in (_SEGMENT, _FRAME):
        raise UnusableError(f"a {printable(tool)}, which this reader does not know")
    label = as_text(result.get("label"))
    if label is None:
        raise UnusableError("a segment without a label")
    start, end = (as_number(result.get(key)) for key in (("start", "end") if tool == _SEGMENT else ("time", "time")))
    if end < start:
        raise UnusableError("a window ends before it starts")
    attributes = {str(name): one for name, said in _items(result.get("attributes")) for one in said}
    return [ImportedAnnotation(label, TimedBox((start, end)), attributes, has_no_box=True)]


def _items(values: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield names and the texts chosen or typed for them."""
    for name, said in values.items() if isinstance(values, dict) else ():
        listed = said if isinstance(said, list) else [said]
        yield str(name), [str(one) for one in listed if one not in (None, "")]


def _remarks(tool: str, value: Any) -> list[ImportedAnnotation]:
    if not isinstance(value, dict):
        raise UnusableError(f"a {tool} without a value")
    return [
        ImportedAnnotation(
            one if tool == _TAG else f"{name}={one}",
            WholeClip(),
            {name: one},
            track=("remark", name, one),
            has_no_box=True,
            is_remark=True,
        )
        for name, said in _items(value)
        for one in said
    ]
