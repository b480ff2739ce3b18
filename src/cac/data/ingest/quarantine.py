"""Quarantine: what a delivery brought that may not join the dataset, each item with its reason beside it.

    LANDING/_quarantine/NAME/clips/a.mp4               the clip
    LANDING/_quarantine/NAME/clips/a.mp4.reason.json   the reason
    LANDING/_quarantine/NAME/annotations.jsonl         the lines of these clips; with dataset.json it is a dataset again

A line without a file has `line-N.reason.json`. An object whose name is not allowed is stored under `keys/`. A delivery
that cannot be read is stored completely, with `reason.json`. The delivery keeps its objects; the quarantine is a copy,
which each run writes again. Out of scope: screening (`screening.py`).
"""

import hashlib
import json
from collections import Counter
from pathlib import Path

from cac.data.ingest.deliveries import MARKER, MAX_BYTES, Delivery, is_clip_path
from cac.data.ingest.screening import RejectedLine, Screening
from cac.errors import printable
from cac.io.s3 import Bucket
from cac.schema.annotations import CARD_NAME, MANIFEST_NAME

FOLDER = "_quarantine"
_REASON = "reason.json"
Row = dict[str, object]

_UNSAFE = "expected clips/NAME.mp4 with a name of at most 194 bytes that leaves no folder"
_NAMELESS = "no line of annotations.jsonl names it"


def quarantine(bucket: Bucket, delivery: Delivery, screening: Screening, folder: Path) -> None:
    """Copy what was rejected to the quarantine, and delete what no longer belongs there.

    Args:
        bucket: the landing folder.
        delivery: the delivery.
        screening: the result of its screening.
        folder: where it was downloaded to.

    Raises:
        CacError: the bucket cannot be written.
    """
    writer = _QuarantineWriter(bucket, delivery)
    if screening.unreadable:
        writer.add_whole_delivery(screening.unreadable)
    else:
        writer.add_lines(screening, folder)
    writer.add_unsafe_objects()
    writer.delete_stale()


def list_quarantine(bucket: Bucket, name: str) -> list[Row]:
    """Return a row for each item of a delivery in quarantine: clip, file, reasons, and its URL.

    Raises:
        CacError: the bucket cannot be read.
    """
    folder = f"{FOLDER}/{name}"
    keys = [each.key for each in bucket.objects(folder) if each.key.endswith(_REASON)]
    return [_row(bucket, name, f"{folder}/{key}") for key in keys]


def _row(bucket: Bucket, name: str, key: str) -> Row:
    reason = json.loads(bucket.read(key, MAX_BYTES) or b"{}")
    texts = {
        "clip": reason.get("clip_id"),
        "file": reason.get("file"),
        "reasons": "; ".join(reason.get("reasons", ())),
    }
    plain: Row = {what: printable(text) if text else "" for what, text in texts.items()}
    return {"delivery": name, **plain, "where": bucket.url(key)}


class _QuarantineWriter:
    """Writes one delivery's quarantine, item by item, and remembers what it wrote."""

    def __init__(self, bucket: Bucket, delivery: Delivery) -> None:
        self._bucket = bucket
        self._delivery = delivery
        self._keys = {each.key for each in delivery.files}
        self._written: set[str] = set()

    def add_whole_delivery(self, reason: str) -> None:
        for key in sorted(self._keys - {MARKER}):
            self._copy(key, key)
        self._reason("reason.json", {"clip_id": None, "line": None, "file": None, "reasons": [reason]})

    def add_lines(self, screening: Screening, folder: Path) -> None:
        # A file that an accepted line names, too, is not quarantined.
        free = self._keys - {clip.path for clip in screening.accepted}
        uses = Counter(one.path for one in screening.rejected)
        for one in screening.rejected:
            self._line(one, one.path if one.path in free and is_clip_path(one.path) else None, uses[one.path] > 1)
        named = {one.path for one in screening.rejected}
        for key in sorted(key for key in free - named if is_clip_path(key)):
            self._copy(key, key)
            self._reason(f"{key}.reason.json", {"clip_id": None, "line": None, "file": key, "reasons": [_NAMELESS]})
        if screening.rejected:
            self._manifest(screening, folder)

    def _line(self, one: RejectedLine, file: str | None, is_shared: bool) -> None:
        if file:
            self._copy(file, file)
        name = f"{file}.reason.json" if file and not is_shared else f"line-{one.line:06}.reason.json"
        reason: Row = {"clip_id": one.clip_id, "line": one.line, "file": one.path, "reasons": list(one.reasons)}
        self._reason(name, reason)

    def _manifest(self, screening: Screening, folder: Path) -> None:
        lines = (folder / MANIFEST_NAME).read_bytes().splitlines()
        self._write(MANIFEST_NAME, b"".join(lines[one.line - 1] + b"\n" for one in screening.rejected))
        self._copy(CARD_NAME, CARD_NAME)

    def add_unsafe_objects(self) -> None:
        for each in self._delivery.unsafe:
            name = f"keys/{hashlib.sha256(each.key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
            self._copy(each.key, name)
            reason: Row = {"clip_id": None, "line": None, "file": each.key, "reasons": [f"key: {_UNSAFE}"]}
            self._reason(f"{name}.reason.json", reason)

    def _reason(self, key: str, reason: Row) -> None:
        self._write(key, (json.dumps(reason, indent=2, sort_keys=True) + "\n").encode())

    def _quarantine_key(self, key: str) -> str:
        return f"{FOLDER}/{self._delivery.name}/{key}"

    def _copy(self, key: str, to: str) -> None:
        self._bucket.copy(f"{self._delivery.name}/{key}", self._quarantine_key(to))
        self._written.add(to)

    def _write(self, key: str, content: bytes) -> None:
        self._bucket.write(self._quarantine_key(key), content)
        self._written.add(key)

    def delete_stale(self) -> None:
        """Delete what an earlier content of the delivery left here."""
        there = {each.key for each in self._bucket.objects(f"{FOLDER}/{self._delivery.name}")}
        self._bucket.delete([self._quarantine_key(key) for key in sorted(there - self._written)])
