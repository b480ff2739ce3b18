"""Skyra's ViF-CoT-4K: artefacts named in a text, as `<type>X</type> in <t>[3.89, 4.53]</t> at <bbox>[…]</bbox>`.

Times are seconds, boxes x1, y1, x2, y2 normalised to 0..1. Accepted is a JSON list or JSON lines of records, each with

- the video's file: `video`, `video_path`, or `videos` with one entry;
- the text: `text`, `evidence`, `response` or `output`; or the replies of the assistant in `messages` (`role`,
  `content`) or `conversations` (`from`: `gpt`, `value`), the forms of LLaMA-Factory;
- optionally `generator` and `pair_id`.

The data set's own files were not at hand: the evidence is as in Skyra's released code, the records are our reading of
its training set-up. A text that calls a video fake and shows nothing usable does not make a clean clip.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cac.data.exchange.interchange import ImportedAnnotation, ImportedClip, UnusableError
from cac.data.exchange.parse import as_box, as_number, as_text, read_records, source_files
from cac.errors import CacError
from cac.schema.geometry import Box, Window
from cac.video.decode import VideoInfo

# No tag may hold another: the search then never starts over, however hostile the text.
_EVIDENCE = re.compile(r"<type>([^<]*)</type>\s*in\s*<t>([^<]*)</t>\s*at\s*<bbox>([^<]*)</bbox>")
_ANSWER = re.compile(r"<answer>\s*(real|fake)\s*</answer>", re.IGNORECASE)
_TOLERANCE = 1e-6  # seconds
_TEXTS = ("text", "evidence", "response", "output")
_VIDEOS = ("video", "video_path")


@dataclass(frozen=True)
class TimedBox:
    """One box for a window in seconds; a window between two frames has the frame nearest to its middle."""

    window: Window
    box: Box

    def boxes(self, info: VideoInfo) -> dict[int, Box]:
        """Return frame → box; up to a second outside the clip, to show where a window sticks out."""
        duration = info.frame_count / info.fps
        start, end = (min(max(time, -1.0), duration + 1.0) for time in self.window)
        first, stop = (math.ceil((time - _TOLERANCE) * info.fps) for time in (start, end))
        if first >= stop:
            first = round((start + end) / 2 * info.fps)
            stop = first + 1
        return dict.fromkeys(range(first, stop), self.box)


def read(source: Path) -> list[ImportedClip]:
    """Return a clip for each record of a JSON or JSONL file, or of a folder of them.

    Raises:
        CacError: a file is no such JSON, or a record has no video or text.
    """
    return [
        _read_record(record, f"{path}, record {number}")
        for path in source_files(source, ".json", ".jsonl")
        for number, record in enumerate(read_records(path), start=1)
    ]


def _read_record(record: Any, where: str) -> ImportedClip:
    if not isinstance(record, dict):
        raise CacError(f"{where} is no object. Each needs a video and a text.")
    video, text = _video_of(record), _text_of(record)
    if video is None or text is None:
        raise CacError(f"{where} has no {'video' if video is None else 'text'}. Known keys: {', '.join(_KEYS)}.")
    facts = {"generator": as_text(record.get("generator")), "pair_id": as_text(record.get("pair_id"))}
    annotations: list[ImportedAnnotation] = []
    refused = ["evidence that cannot be read"] * (text.count("<type>") - len(_EVIDENCE.findall(text)))
    for label, time, box in _EVIDENCE.findall(text):
        try:
            annotations.append(_annotation(label, time, box))
        except UnusableError as error:
            refused.append(str(error))
    return ImportedClip(
        video, tuple(annotations), tuple(refused), unusable=_contradiction(text, annotations, refused), **facts
    )


_KEYS = (*_VIDEOS, "videos", *_TEXTS, "messages", "conversations")


def _video_of(record: Mapping[str, Any]) -> str | None:
    several = record.get("videos")
    only = several[0] if isinstance(several, list) and len(several) == 1 else None
    names = [*map(record.get, _VIDEOS), only]
    return next((name for name in names if isinstance(name, str) and name), None)


def _text_of(record: Mapping[str, Any]) -> str | None:
    plain = next((text for text in map(as_text, map(record.get, _TEXTS)) if text), None)
    if plain is not None:
        return plain
    turns = [*_turns(record.get("messages"), "role", "content"), *_turns(record.get("conversations"), "from", "value")]
    return "\n".join(turns) or None


def _turns(turns: Any, speaker: str, content: str) -> Iterable[str]:
    """Yield what the model says; the question may show the form of the evidence, too."""
    for turn in turns if isinstance(turns, list) else []:
        if isinstance(turn, dict) and turn.get(speaker) in ("assistant", "gpt") and as_text(turn.get(content)):
            yield turn[content]


def _annotation(label: str, time: str, box: str) -> ImportedAnnotation:
    times, corners = _numbers(time), as_box(_numbers(box))
    if len(times) != 2:
        raise UnusableError("a time is not start and end")
    if times[1] < times[0]:
        raise UnusableError("a window ends before it starts")
    if not label.strip():
        raise UnusableError("evidence without a type")
    if min(corners) < 0 or max(corners) > 1:
        raise UnusableError("a box that is not within 0 and 1: are these pixels?")
    return ImportedAnnotation(" ".join(label.split()), TimedBox((times[0], times[1]), corners))


def _numbers(text: str) -> list[float]:
    return [as_number(part) for part in text.strip().removeprefix("[").removesuffix("]").split(",")]


def _contradiction(text: str, annotations: list[ImportedAnnotation], refused: list[str]) -> str | None:
    answers = {answer.lower() for answer in _ANSWER.findall(text)}
    if answers == {"fake"} and not annotations and not refused:
        return "called fake, but nothing says what is wrong and where"
    if "real" in answers and (annotations or refused or "fake" in answers):
        return "called real, but artefacts are named"
    return None
