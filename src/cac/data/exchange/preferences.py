"""Preference pairs (which of two videos is better) are for evaluation only: no import makes clips of them.

A preference says nothing of either clip by itself: the better one of two may be full of artefacts. So a source of pairs
is refused as a whole, by name, with the command that evaluates on it.
"""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cac.data.exchange.parse import plain_name, read_records, read_text
from cac.errors import CacError

# Fields that only pairs have → the benchmark of that form, or None for the form of training sets.
_PAIRS: dict[tuple[str, str], str | None] = {
    ("path_A", "path_B"): "videogen-rewardbench",
    ("left_video", "right_video"): "genai-bench",
    ("option_dic", "answer_letter"): "artifact-bench",
    ("task_type", "sample_id"): "artifact-bench",
    ("chosen", "rejected"): None,
    ("win", "lose"): None,
}
_SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")


def refuse_preferences(records: Iterable[Any], path: Path) -> None:
    """Check that no record is a preference or another benchmark's question.

    Raises:
        CacError: one is; the message names its fields and the command to use.
    """
    for record in records:
        if isinstance(record, dict):
            _refuse_fields(record.keys(), path)


def refuse_preference_files(source: Path) -> None:
    """Do the same for a file, or the files in a folder, of any form in which preferences come; others are left alone.

    Raises:
        CacError: as `refuse_preferences`.
    """
    for path in sorted(source.iterdir()) if source.is_dir() else [source]:
        suffix = plain_name(path).suffix.lower()
        if path.is_file() and suffix in _SUFFIXES:
            _refuse_fields(_fields_of(path, suffix), path)


def _refuse_fields(names: Iterable[Any], path: Path) -> None:
    present = set(names)
    for fields, benchmark in _PAIRS.items():
        if present.issuperset(fields):
            shown = " and ".join(f"`{name}`" for name in fields)
            command = f"cac evaluate-on {benchmark or 'FORMAT'} FOLDER"
            raise CacError(
                f"{path} has preferences or questions of a benchmark ({shown}). They are for evaluation only and say "
                f"nothing of a clip by itself, so no dataset is made of them. Use `{command}`."
            )


def _fields_of(path: Path, suffix: str) -> set[str]:
    """Return the fields of a file's records; none if it cannot be read, which its reader says better."""
    try:
        if suffix == ".csv":
            return set(next(csv.reader(io.StringIO(read_text(path), newline="")), []))
        if suffix == ".parquet":
            return _columns(path)
        records = read_records(path)
    except (CacError, csv.Error):
        return set()
    return {name for record in records[:1] if isinstance(record, dict) for name in record}


def _columns(path: Path) -> set[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return set()
