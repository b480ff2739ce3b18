"""Deliveries: datasets that arrive in a bucket, each in a folder of its landing folder.

A delivery is a dataset in our schema and a marker, which the sender writes last:

    LANDING/NAME/annotations.jsonl   LANDING/NAME/dataset.json   LANDING/NAME/clips/*.mp4   LANDING/NAME/delivered.json

After ingestion a receipt, `ingested.json`, names the content that was ingested, so a delivery is screened again only
if it changes. Names that begin with an underscore are reserved. Out of scope: screening the clips (`screening.py`) and
adding them to a dataset (`flows/ingestion.py`).
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cac.data.versions.cards import read_card
from cac.errors import CacError
from cac.io.s3 import Bucket, StoredObject
from cac.io.s3_transfer import digest_of, download, upload
from cac.schema.annotations import CARD_NAME, MANIFEST_NAME, read_clips

MARKER = "delivered.json"
RECEIPT = "ingested.json"
MAX_BYTES = 1024**2  # of a marker or receipt

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CLIP = re.compile(r"clips/(?!\.)[^/\\\x00-\x1f\x7f]+\.mp4")
_MAX_NAME = 200  # bytes of a clip's file name; a file system takes 255
_THREADS = 8

Result = TypeVar("Result")


@dataclass(frozen=True)
class Delivery:
    """The content of a delivery's folder.

    Attributes:
        name: the folder's name.
        files: its objects that belong to a dataset.
        others: its other objects, such as reports; they are ignored.
        unsafe: objects whose names are not allowed, because they could be written outside the target folder.
        digest: SHA-256 of all keys, sizes and ETags except the receipt's; identifies the content.
        is_complete: whether the sender has written the marker.
    """

    name: str
    files: tuple[StoredObject, ...]
    others: tuple[StoredObject, ...]
    unsafe: tuple[StoredObject, ...]
    digest: str
    is_complete: bool


@dataclass(frozen=True)
class LandingFolder:
    """What a landing folder holds: deliveries in the order of their names, and names that are not deliveries."""

    deliveries: tuple[Delivery, ...]
    unrecognised: tuple[str, ...]


def list_deliveries(bucket: Bucket) -> LandingFolder:
    """List a landing folder.

    Raises:
        CacError: it cannot be listed.
    """
    folders, loose = bucket.folders()
    theirs = [name for name in (*folders, *loose) if not name.startswith("_")]
    names = [name for name in folders if _NAME.fullmatch(name)]
    unrecognised = tuple(name for name in theirs if name not in names)
    return LandingFolder(tuple(_delivery(name, bucket.objects(name)) for name in names), unrecognised)


def _delivery(name: str, objects: list[StoredObject]) -> Delivery:
    theirs = [each for each in objects if each.key != RECEIPT]
    lines = "".join(f"{json.dumps(each.key)} {each.size} {each.etag}\n" for each in theirs)
    kinds: dict[str, list[StoredObject]] = {"files": [], "others": [], "unsafe": []}
    for each in theirs:
        kinds[_kind(each.key)].append(each)
    return Delivery(
        name=name,
        files=tuple(kinds["files"]),
        others=tuple(kinds["others"]),
        unsafe=tuple(kinds["unsafe"]),
        digest=hashlib.sha256(lines.encode()).hexdigest(),
        is_complete=any(each.key == MARKER for each in theirs),
    )


def _kind(key: str) -> str:
    if key in (MANIFEST_NAME, CARD_NAME, MARKER) or is_clip_path(key):
        return "files"
    return "others" if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", key) else "unsafe"


def is_clip_path(path: str) -> bool:
    """Whether this is a valid clip path in a delivery: `clips/NAME.mp4`, which cannot lead out of the folder."""
    return bool(_CLIP.fullmatch(path)) and len(path.encode("utf-8", "replace")) <= _MAX_NAME


def is_ingested(bucket: Bucket, delivery: Delivery) -> bool:
    """Whether exactly this content was ingested before."""
    receipt = _read_json(bucket, f"{delivery.name}/{RECEIPT}")
    return receipt.get("digest") == delivery.digest


def write_receipt(bucket: Bucket, delivery: Delivery, details: dict[str, object]) -> None:
    """Write the receipt of this content, so that it is not ingested again."""
    content = {"digest": delivery.digest, **details}
    bucket.write(f"{delivery.name}/{RECEIPT}", (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def _read_json(bucket: Bucket, key: str) -> dict[str, object]:
    try:
        value = json.loads(bucket.read(key, MAX_BYTES) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def fetch_delivery(bucket: Bucket, delivery: Delivery, folder: Path) -> None:
    """Download a delivery to a folder. Files of an earlier, interrupted attempt are kept if they are still the same.

    Raises:
        CacError: it cannot be fetched or written, or the manifest or card differs from the marker.
    """
    expected = _read_json(bucket, f"{delivery.name}/{MARKER}")
    with bucket.explain_errors(delivery.name):
        (folder / "clips").mkdir(parents=True, exist_ok=True)
        _remove_others(folder, {each.key for each in delivery.files})
    for name in (MANIFEST_NAME, CARD_NAME):
        if any(each.key == name for each in delivery.files):
            digest = download(bucket, f"{delivery.name}/{name}", folder / name)
            if expected.get(name, digest) != digest:
                raise CacError(
                    f"{bucket.url(delivery.name)}: {name} does not match {MARKER}. Deliver it again, the marker last."
                )
    wanted = _digests(folder)
    clips = [each.key for each in delivery.files if each.key in wanted]
    _in_threads(clips, lambda key: download(bucket, f"{delivery.name}/{key}", folder / key, wanted[key]))


def _remove_others(folder: Path, keys: set[str]) -> None:
    """Delete files that are no longer part of the delivery."""
    for path in (*folder.glob("*.json*"), *folder.glob("clips/[!.]*")):
        if path.relative_to(folder).as_posix() not in keys:
            path.unlink()


def _digests(folder: Path) -> dict[str, str | None]:
    """Return {path: SHA-256} of the valid lines of the manifest; other files need not be fetched."""
    from cac.data.validation.clip_facts import iter_facts

    try:
        return {one.clip.path: one.clip.sha256 for one in iter_facts(folder, None) if one.clip}
    except CacError:  # the manifest cannot be read; `screening.py` reports it
        return {}


def _in_threads(keys: Iterable[str], work: Callable[[str], Result]) -> list[Result]:
    """Return `work(key)` of each key, several at a time; after an error no further key is started."""
    with ThreadPoolExecutor(_THREADS) as pool:
        futures = [pool.submit(work, key) for key in keys]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def deliver(dataset: Path, bucket: Bucket, name: str) -> int:
    """Upload a dataset to a landing folder, the marker last; return how many files were uploaded.

    Call it again to complete an interrupted delivery; files that are already there are skipped.

    Raises:
        CacError: the dataset cannot be read, the name or a clip's path is not allowed, or an upload failed.
    """
    if not _NAME.fullmatch(name):
        raise CacError(f"{name!r} is not a valid name of a delivery. Use up to 100 letters, digits, dots and dashes.")
    read_card(dataset)
    paths = sorted({clip.path for clip in read_clips(dataset)})
    wrong = [path for path in paths if not is_clip_path(path)]
    if wrong:
        raise CacError(f"{dataset}: {wrong[0]!r} is not of the form clips/NAME.mp4, which a delivery needs. Rename it.")
    if missing := [path for path in paths if not (dataset / path).is_file()]:
        raise CacError(f"{dataset}: there is no file {missing[0]}, which its manifest names. Restore it, then deliver.")
    bucket.delete([f"{name}/{MARKER}"])  # an earlier delivery of this name is incomplete from now on
    files = (*paths, MANIFEST_NAME, CARD_NAME)
    sent = sum(_in_threads(files, lambda key: upload(bucket, dataset / key, f"{name}/{key}")))
    marker = {key: digest_of(dataset / key) for key in (MANIFEST_NAME, CARD_NAME)}
    bucket.write(f"{name}/{MARKER}", (json.dumps(marker, indent=2, sort_keys=True) + "\n").encode())
    return sent
