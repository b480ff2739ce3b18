"""Quarantine: what a delivery brought that may not join the dataset, each with its reason beside it.

    LANDING/_quarantine/NAME/clips/a.mp4               the clip
    LANDING/_quarantine/NAME/clips/a.mp4.reason.json   why
    LANDING/_quarantine/NAME/annotations.jsonl         the lines of such clips; with dataset.json it is a dataset again

A line without a file of its own has `line-N.reason.json`, an object with a name that no clip may have lies under
`keys/`, and a delivery that cannot be read lies there whole, with `reason.json`. The delivery keeps its objects; the
quarantine is a copy, written anew each time. Left out: judging (`intake.py`).
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
    """Put into quarantine what was refused, and nothing else.

    Args:
        bucket: the landing place.
        delivery: what was delivered.
        screening: what became of it.
        folder: where it was fetched to.

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
    """Return a row for each thing of a delivery that is in quarantine: clip, file, reasons, and where it lies.

    Raises:
        CacError: the bucket cannot be read.
    """
    place = f"{FOLDER}/{name}"
    keys = [each.key for each in bucket.objects(place) if each.key.endswith(_REASON)]
    return [_row(bucket, name, f"{place}/{key}") for key in keys]


def _row(bucket: Bucket, name: str, key: str) -> Row:
    said = json.loads(bucket.read(key, MAX_BYTES) or b"{}")
    texts = {"clip": said.get("clip_id"), "file": said.get("file"), "reasons": "; ".join(said.get("reasons", ()))}
    plain: Row = {what: printable(text) if text else "" for what, text in texts.items()}
    return {"delivery": name, **plain, "where": bucket.url(key)}


class _QuarantineWriter:
    """What one delivery's quarantine holds; written as it is named."""

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
        # A file of which an accepted line speaks, too, stays out of quarantine.
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
        said: Row = {"clip_id": one.clip_id, "line": one.line, "file": one.path, "reasons": list(one.reasons)}
        self._reason(name, said)

    def _manifest(self, screening: Screening, folder: Path) -> None:
        lines = (folder / MANIFEST_NAME).read_bytes().splitlines()
        self._write(MANIFEST_NAME, b"".join(lines[one.line - 1] + b"\n" for one in screening.rejected))
        self._copy(CARD_NAME, CARD_NAME)

    def add_unsafe_objects(self) -> None:
        for each in self._delivery.unsafe:
            name = f"keys/{hashlib.sha256(each.key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
            self._copy(each.key, name)
            said: Row = {"clip_id": None, "line": None, "file": each.key, "reasons": [f"key: {_UNSAFE}"]}
            self._reason(f"{name}.reason.json", said)

    def _reason(self, key: str, said: Row) -> None:
        self._write(key, (json.dumps(said, indent=2, sort_keys=True) + "\n").encode())

    def _quarantine_key(self, key: str) -> str:
        return f"{FOLDER}/{self._delivery.name}/{key}"

    def _copy(self, key: str, to: str) -> None:
        self._bucket.copy(f"{self._delivery.name}/{key}", self._quarantine_key(to))
        self._written.add(to)

    def _write(self, key: str, content: bytes) -> None:
        self._bucket.write(self._quarantine_key(key), content)
        self._written.add(key)

    def delete_stale(self) -> None:
        """Remove what an earlier content of the delivery left here."""
        there = {each.key for each in self._bucket.objects(f"{FOLDER}/{self._delivery.name}")}
        self._bucket.delete([self._quarantine_key(key) for key in sorted(there - self._written)])
