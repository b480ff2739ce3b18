"""Skyra's ViF-CoT-4K and ViF-Bench: artefacts named in a text.

Evidence has the form `<type>X</type> in <t>[3.89, 4.53]</t> at <bbox>[0.1, 0.2, 0.5, 0.6]</bbox>`: times are seconds,
boxes x1, y1, x2, y2 normalised to 0..1. A box of four zeros says that the artefact has no place.
Accepted is a JSON list or JSON lines of records, each with

- the video: `video`, `video_path`, `videos` with one entry, or `images`, the files of one folder of frames, as
  published; the frames' times are in the folder's `timestamps.txt`, else in the question (`[T=0.25s] <image>`);
- the text: `text`, `evidence`, `response` or `output`; or the replies of the assistant in `messages` (`role`,
  `content`) or `conversations` (`from`: `gpt`, `value`), the forms of LLaMA-Factory;
- optionally `generator` and `pair_id`.

A clip is clean only where the answer is `Real`; evidence in such a text is a region that was looked at and cleared.
Accepted is also the index of ViF-Bench, `{"Real": [folders], GENERATOR: [folders]}`, in which only real clips can be
used: nothing says what is wrong with the others, and where. A real clip and its fakes share a folder name, which is
their pair.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from cac.data.exchange.interchange import CONTRADICTION, ImportedAnnotation, ImportedClip, Verdict
from cac.data.exchange.locations import WHOLE_FRAME, TimedBox
from cac.data.exchange.parse import as_box, as_number, as_text, read_records
from cac.data.exchange.preferences import refuse_preferences
from cac.data.exchange.unusable import UnusableError
from cac.errors import CacError, printable

SUFFIXES = (".json", ".jsonl")
# No tag may hold another: the search then never starts over, however hostile the text.
_EVIDENCE = re.compile(r"<type>([^<]*)</type>\s*in\s*<t>([^<]*)</t>\s*at\s*<bbox>([^<]*)</bbox>")
_ANSWER = re.compile(r"<answer>\s*(real|fake)\s*</answer>", re.IGNORECASE)
_TAG = re.compile(r"</?([A-Za-z][\w-]*)")
_TIME = re.compile(r"\[T=(\d{1,9}(?:\.\d{1,9})?)s\]\s*<image>")
_KNOWN_TAGS = {"think", "answer", "type", "t", "bbox", "image", "video"}
_TEXTS = ("text", "evidence", "response", "output")
_VIDEOS = ("video", "video_path")
_KEYS = (*_VIDEOS, "videos", "images", *_TEXTS, "messages", "conversations")
_VERDICTS: dict[str, Verdict] = {"real": "clean", "fake": "anomalous"}


def read(path: Path) -> list[ImportedClip]:
    """Return a clip for each record of a JSON or JSONL file.

    Raises:
        CacError: it is no such JSON, or a record has no video or text.
    """
    records = read_records(path)
    refuse_preferences(records, path)
    if len(records) == 1 and _is_index(records[0]):
        return [clip for name, folders in records[0].items() for clip in _read_index(name, folders)]
    return [_read_record(record, f"{path}, record {number}") for number, record in enumerate(records, start=1)]


def _is_index(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and bool(record)
        and not record.keys() & set(_KEYS)
        and all(isinstance(one, list) and all(as_text(folder) for folder in one) for one in record.values())
    )


def _read_index(name: str, folders: Iterable[str]) -> Iterable[ImportedClip]:
    is_real = name.lower() == "real"
    for folder in folders:
        video, pair_id = folder.lstrip("/"), PurePosixPath(folder).name
        verdict: Verdict = "clean" if is_real else "anomalous"
        yield ImportedClip(video, verdict=verdict, generator=None if is_real else name, pair_id=pair_id)


def _read_record(record: Any, where: str) -> ImportedClip:
    if not isinstance(record, dict):
        raise CacError(f"{where} is no object. Each needs a video and a text.")
    frames = _frame_folder(record)
    video, text = _video_of(record) or (str(frames) if frames else None), _text_of(record)
    if video is None or text is None:
        raise CacError(f"{where} has no {'video' if video is None else 'text'}. Known keys: {', '.join(_KEYS)}.")
    verdict, unusable = _verdict_of(text)
    annotations, refused = _read_text(text, verdict)
    # As published, …/GENERATOR/VIDEO ID/1.png.
    generator = frames.parent.name if frames and verdict == "anomalous" else None
    return ImportedClip(
        video,
        tuple(annotations),
        tuple(refused),
        generator=as_text(record.get("generator")) or generator or None,
        pair_id=as_text(record.get("pair_id")) or (frames.name if frames else None),
        unusable=unusable or _image_problem(record),
        verdict=verdict,
        seconds=_seconds_of(record),
    )


def _video_of(record: Mapping[str, Any]) -> str | None:
    several = record.get("videos")
    only = several[0] if isinstance(several, list) and len(several) == 1 else None
    names = [*map(record.get, _VIDEOS), only]
    return next((name for name in names if isinstance(name, str) and name), None)


def _frame_folder(record: Mapping[str, Any]) -> PurePosixPath | None:
    """Return the folder of a record's images, without the root of the machine that it was written on."""
    images = record.get("images")
    first = images[0] if isinstance(images, list) and images else None
    return PurePosixPath(first.lstrip("/")).parent if isinstance(first, str) and as_text(first) else None


def _image_problem(record: Mapping[str, Any]) -> str | None:
    images = record.get("images")
    if _video_of(record) or not isinstance(images, list):
        return None
    folders = {PurePosixPath(image).parent if isinstance(image, str) else None for image in images}
    return None if len(folders) == 1 else "frames of several folders"


def _seconds_of(record: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the frames' times as the question gives them, if it gives one for each image."""
    asked = "\n".join(_turns(record.get("messages"), "role", "content", ("user",)))
    times = tuple(float(time) for time in _TIME.findall(asked))
    images = record.get("images")
    return times if isinstance(images, list) and len(images) == len(times) else ()


def _text_of(record: Mapping[str, Any]) -> str | None:
    plain = next((text for text in map(as_text, map(record.get, _TEXTS)) if text), None)
    if plain is not None:
        return plain
    said = [
        *_turns(record.get("messages"), "role", "content", ("assistant",)),
        *_turns(record.get("conversations"), "from", "value", ("gpt", "assistant")),
    ]
    return "\n".join(said) or None


def _turns(turns: Any, speaker: str, content: str, who: tuple[str, ...]) -> Iterable[str]:
    """Yield what somebody says; the question may show the form of the evidence, too."""
    for turn in turns if isinstance(turns, list) else []:
        if isinstance(turn, dict) and turn.get(speaker) in who and as_text(turn.get(content)):
            yield turn[content]


def _verdict_of(text: str) -> tuple[Verdict | None, str | None]:
    """Return what the text calls the clip, and why it cannot be used if it calls it both."""
    answers = {_VERDICTS[answer.lower()] for answer in _ANSWER.findall(text)}
    return (next(iter(answers)), None) if len(answers) == 1 else (None, CONTRADICTION if answers else None)


def _read_text(text: str, verdict: Verdict | None) -> tuple[list[ImportedAnnotation], list[str]]:
    """Return the artefacts that a text names, and what of it cannot be read."""
    evidence = _EVIDENCE.findall(text)
    annotations: list[ImportedAnnotation] = []
    refused = ["evidence that cannot be read"] * (text.count("<type>") - len(evidence))
    refused += [f"a tag <{printable(tag)}>" for tag in sorted(set(_TAG.findall(text)) - _KNOWN_TAGS)]
    if verdict == "clean":
        return [], refused  # regions that were looked at and cleared
    for label, time, box in evidence:
        try:
            annotations.append(_annotation(label, time, box))
        except UnusableError as error:
            refused.append(str(error))
    if verdict is None and not annotations and not refused:
        refused.append("a text that calls the clip neither real nor fake")
    return annotations, refused


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
    has_no_box = not any(corners)
    location = TimedBox((times[0], times[1]), WHOLE_FRAME if has_no_box else corners)
    return ImportedAnnotation(" ".join(label.split()), location, has_no_box=has_no_box)


def _numbers(text: str) -> list[float]:
    return [as_number(part) for part in text.strip().removeprefix("[").removesuffix("]").split(",")]
