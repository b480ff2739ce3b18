"""Transfer files to and from a bucket in pieces; an interrupted transfer resumes, in the same process or another.

A download keeps its partial file beside the target, with the ETag it belongs to. An upload keeps its parts on the
server. Nothing else is stored. Out of scope: several pieces of one file at a time; for many files, call this from
several threads.
"""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from cac.errors import CacError
from cac.io.s3 import Bucket, max_attempts, md5_of

_MAX_PARTS = 10_000
_CHUNK = 1024**2
_LONGEST_PAUSE = 20.0  # seconds


def download(bucket: Bucket, key: str, target: Path, sha256: str | None = None) -> str:
    """Download an object to the file `target` and return the SHA-256 of its content, as hex.

    A file that already has the content `sha256` is not downloaded. If the content has another SHA-256, it is downloaded
    a second time; if it is the same again, that is the server's content, and it is kept.

    Raises:
        CacError: it cannot be downloaded or written, or its content differs each time.
    """
    if sha256 and target.is_file() and digest_of(target) == sha256:
        return sha256
    digest = _fetch(bucket, key, target)
    if sha256 in (None, digest):
        return digest
    again = _fetch(bucket, key, target)
    if again not in (sha256, digest):
        raise CacError(f"{bucket.url(key)} has another content at each download. Check the network, and run again.")
    return again


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(bucket: Bucket, key: str, target: Path) -> str:
    partial = target.with_name(f".{target.name}.partial")
    note = target.with_name(f".{target.name}.etag")
    with bucket.explain_errors(key):
        _persist(bucket, key, partial, note)
        digest = digest_of(partial)
        partial.replace(target)
        note.unlink()
    return digest


def _persist(bucket: Bucket, key: str, partial: Path, note: Path) -> None:
    """Fetch until the object is complete; give up after several attempts without progress."""
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    failures = 0
    while True:
        before = _size(partial)
        try:
            return _fetch_rest(bucket, key, partial, note)
        except (HTTPClientError, IncompleteReadError):
            failures = 0 if _size(partial) > before else failures + 1
            if failures >= max_attempts():
                raise
            bucket.tick()
            time.sleep(min(_LONGEST_PAUSE, 0.25 * 2**failures))


def _fetch_rest(bucket: Bucket, key: str, partial: Path, note: Path) -> None:
    """Append the missing bytes; start again if the object has changed."""
    start = _usable(bucket, key, partial, note)
    if start is None:
        return None
    asked = {"Range": f"bytes={start}-"} if start else {}
    answer = bucket.client.get_object(**bucket.location(key), **asked)
    if start and not (answer["ETag"] == note.read_text() and answer["ContentRange"].startswith(f"bytes {start}-")):
        partial.unlink()  # it was replaced after `_usable` checked it
        return _fetch_rest(bucket, key, partial, note)
    if not start:
        partial.unlink(missing_ok=True)
        note.write_text(answer["ETag"])
    with partial.open("ab") as file:
        for chunk in answer["Body"].iter_chunks(_CHUNK):
            bucket.tick()
            file.write(chunk)
            file.flush()
    return None


def _usable(bucket: Bucket, key: str, partial: Path, note: Path) -> int | None:
    """Return how many bytes of an earlier attempt can be used; None if it is complete."""
    if not (_size(partial) and note.is_file()):
        return 0
    there = bucket.client.head_object(**bucket.location(key))
    if there["ETag"] != note.read_text() or _size(partial) > there["ContentLength"]:
        return 0
    return None if _size(partial) == there["ContentLength"] else _size(partial)


def upload(bucket: Bucket, source: Path, key: str) -> bool:
    """Upload a file to an object; return False if it was already there.

    Each piece carries its MD5, so that the server refuses damaged data.

    Raises:
        CacError: it cannot be read or sent, or the server has another size afterwards.
    """
    with bucket.explain_errors(key):
        size = source.stat().st_size
        length = max(bucket.part_size, -(-size // _MAX_PARTS))
        if _is_there(bucket, key, source, length):
            return False
        if size <= length:
            bucket.write(key, source.read_bytes())
        else:
            _upload_parts(bucket, source, key, length)
        if bucket.client.head_object(**bucket.location(key))["ContentLength"] != size:
            raise CacError(f"{bucket.url(key)} has another size than {source} after the upload. Run again.")
    return True


def _is_there(bucket: Bucket, key: str, source: Path, length: int) -> bool:
    """Whether the object has an ETag of this content: its MD5, or that of its parts' MD5s."""
    from botocore.exceptions import ClientError

    try:
        there = bucket.client.head_object(**bucket.location(key))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return False
        raise
    return there["ContentLength"] == source.stat().st_size and there["ETag"].strip('"') in _etags(source, length)


def _etags(source: Path, length: int) -> set[str]:
    whole, parts = hashlib.md5(usedforsecurity=False), []
    for piece in _pieces(source, length):
        whole.update(piece)
        parts.append(hashlib.md5(piece, usedforsecurity=False).digest())
    joined = hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()
    return {whole.hexdigest(), f"{joined}-{len(parts)}"}


def _upload_parts(bucket: Bucket, source: Path, key: str, length: int) -> None:
    failures = 0
    while True:
        number = _unfinished(bucket, key) or bucket.client.create_multipart_upload(**bucket.location(key))["UploadId"]
        try:
            return _send_parts(bucket, source, bucket.location(key) | {"UploadId": number}, length)
        except bucket.client.exceptions.NoSuchUpload:  # a restarted server may have lost it
            failures += 1
            if failures >= max_attempts():
                raise


def _unfinished(bucket: Bucket, key: str) -> str | None:
    """Return an upload of this object that was neither completed nor aborted."""
    wanted = bucket.location(key)
    try:
        answer = bucket.client.list_multipart_uploads(Bucket=wanted["Bucket"], Prefix=wanted["Key"])
    except bucket.client.exceptions.NoSuchUpload:  # rclone's answer for a bucket without uploads
        return None
    return max((each["UploadId"] for each in answer.get("Uploads", ()) if each["Key"] == wanted["Key"]), default=None)


def _send_parts(bucket: Bucket, source: Path, upload: dict[str, str], length: int) -> None:
    """Upload the missing parts and complete the upload."""
    pages = bucket.client.get_paginator("list_parts").paginate(**upload)
    there = {part["PartNumber"]: part["ETag"] for page in pages for part in page.get("Parts", ())}
    parts = []
    for number, piece in enumerate(_pieces(source, length), start=1):
        bucket.tick()
        encoded, etag = md5_of(piece)
        if there.get(number, "").strip('"') != etag:
            answer = bucket.client.upload_part(**upload, PartNumber=number, Body=piece, ContentMD5=encoded)
            there[number] = answer["ETag"]
        parts.append({"PartNumber": number, "ETag": there[number]})
    bucket.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})


def _pieces(source: Path, length: int) -> Iterator[bytes]:
    with source.open("rb") as file:
        while piece := file.read(length):
            yield piece


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
