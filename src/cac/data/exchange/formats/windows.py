"""Windows without boxes: CSV, JSON or JSON lines with `video`, `start`, `end` in seconds, and `label`.

A row is a window of a video. `generator` and `pair_id` may be given. A video without anything wrong has a row with the
label `clean` and no times; nothing else makes a clean clip. It is the form to convert a source to that says only when:
comments at a time, ranges, segments.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cac.data.exchange.interchange import ImportedAnnotation, ImportedClip
from cac.data.exchange.locations import TimedBox, WholeClip
from cac.data.exchange.parse import as_number, as_text, plain_name, read_records, read_text
from cac.data.exchange.preferences import refuse_preferences
from cac.data.exchange.unusable import UnusableError
from cac.errors import CacError, printable

SUFFIXES = (".csv", ".json", ".jsonl")
CLEAN = "clean"
_KEYS = {"video", "start", "end", "label", "generator", "pair_id"}


def read(path: Path) -> list[ImportedClip]:
    """Return a clip for each row of a file; rows of one video are merged later.

    Raises:
        CacError: it is no such file, or a row names no video.
    """
    rows = _csv_rows(path) if plain_name(path).suffix.lower() == ".csv" else read_records(path)
    refuse_preferences(rows, path)
    return [_read_row(row, f"{path}, row {number}", number) for number, row in enumerate(rows, start=1)]


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    try:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True, restkey="(more)")
        return [{key: value for key, value in row.items() if value not in (None, "")} for row in reader]
    except csv.Error as error:
        raise CacError(f"{path} is no valid CSV: {error}. Export it again.") from error


def _read_row(row: Any, where: str, number: int) -> ImportedClip:
    video = as_text(row.get("video")) if isinstance(row, dict) else None
    if video is None:
        raise CacError(f"{where}: no `video`. Keys are {', '.join(sorted(_KEYS))}.")
    unknown = tuple(sorted(f"`{printable(str(key))}`" for key in row.keys() - _KEYS))
    facts = as_text(row.get("generator")), as_text(row.get("pair_id"))
    if row.get("label") == CLEAN and not {"start", "end"} & {key for key, value in row.items() if value is not None}:
        return ImportedClip(video, (), (), unknown, *facts, verdict="clean")
    try:
        found = _window(row, (where, number))
    except UnusableError as error:
        return ImportedClip(video, (), (str(error),), unknown, *facts)
    return ImportedClip(video, (found,), (), unknown, *facts)


def _window(row: Mapping[str, Any], name: tuple[str, int]) -> ImportedAnnotation:
    label = row.get("label")
    if label is not None and as_text(label) is None:
        raise UnusableError("a label that is no text")
    return ImportedAnnotation(as_text(label), _location(row), track=name, has_no_box=True)


def _location(row: Mapping[str, Any]) -> TimedBox | WholeClip:
    """Return the window of a row, or the whole clip if it names what is wrong and no time."""
    if row.get("start") is None and row.get("end") is None and row.get("label") is not None:
        return WholeClip()
    start, end = as_number(row.get("start")), as_number(row.get("end"))
    if end < start:
        raise UnusableError("a window ends before it starts")
    if row.get("label") == CLEAN:
        raise UnusableError("a window that is called clean")
    return TimedBox((start, end))
