"""S3: a folder of a bucket, or one object by its URL, with errors in plain words. All access to S3 goes through here.

Endpoint and credentials come from the environment or the profile, as in every AWS program (`AWS_ENDPOINT_URL_S3`,
`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, …). boto3 retries a call with growing pauses. Out of scope: files too large for
memory (`s3_transfer.py`), the meaning of keys (`data/ingest/deliveries.py`), and features that only some servers have,
such as conditional writes, metadata and versions.
"""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cac.errors import BeyondLimitsError, CacError, printable

SCHEME = "s3://"
PART_SIZE = 16 * 1024**2  # bytes; S3 requires at least 5 MiB for all parts but the last, and at most 10,000 parts
_COPY_AT_ONCE = 4 * 1024**3  # bytes; S3 copies objects of up to 5 GB in one call
_ATTEMPTS = 8  # attempts per call, over about a minute; AWS_MAX_ATTEMPTS overrides it
_ATTEMPTS_FOR_ONE_OBJECT = 4  # attempts per call; fewer, because a user may be waiting for the object
_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?")
_ADVICE = {
    "NoSuchKey": "It does not exist.",
    "404": "It does not exist.",
    "NoSuchBucket": "The bucket does not exist. Create it, or name another one.",
    "InvalidAccessKeyId": "The server does not know this access key. Check AWS_ACCESS_KEY_ID or AWS_PROFILE.",
    "SignatureDoesNotMatch": "The secret key is wrong. Check AWS_SECRET_ACCESS_KEY or AWS_PROFILE.",
    "403": "These credentials are wrong or lack the permission. Check AWS_ACCESS_KEY_ID or AWS_PROFILE.",
    "AccessDenied": "These credentials lack the permission. Ask the bucket's owner.",
    "ExpiredToken": "The session has expired. Get new credentials.",
}


class StoreUnreachableError(CacError):
    """The store does not answer, or there are no credentials: not the fault of one object."""


@dataclass(frozen=True)
class StoredObject:
    """An object: its key, relative to the folder it was listed in, its size in bytes, and its ETag without quotes."""

    key: str
    size: int
    etag: str


def _nothing() -> None:
    """Do nothing."""


class Bucket:
    """A folder of a bucket; all keys are relative to it.

    Args:
        url: `s3://BUCKET` or `s3://BUCKET/FOLDER`.
        part_size: bytes of an upload's part, and above which a file goes up in parts.
        tick: called between pieces; an exception of it ends the transfer, which the next call resumes.
        tries: attempts of a call, unless the environment sets them.

    Raises:
        CacError: the URL or a setting in the environment is invalid.
    """

    def __init__(
        self, url: str, part_size: int = PART_SIZE, tick: Callable[[], None] = _nothing, tries: int = _ATTEMPTS
    ) -> None:
        found = _URL.fullmatch(url)
        if not found:
            raise CacError(f"{url!r} is not an S3 URL. Give s3://BUCKET or s3://BUCKET/FOLDER.")
        self.name = found["bucket"]
        self.prefix = f"{folder}/" if (folder := (found["prefix"] or "").strip("/")) else ""
        self.part_size = part_size
        self.tick = tick
        with self.explain_errors(""):
            self.client = _client(max_attempts(tries))

    def url(self, key: str = "") -> str:
        """Return an object's URL."""
        return f"s3://{self.name}/{self.prefix}{key}"

    def folders(self) -> tuple[list[str], list[str]]:
        """Return the names of the folders and of the objects directly in the folder, each sorted."""
        folders, loose = [], []
        with self.explain_errors(""):
            for page in self._pages("", Delimiter="/"):
                folders += [each["Prefix"][len(self.prefix) : -1] for each in page.get("CommonPrefixes", ())]
                loose += [each["Key"][len(self.prefix) :] for each in page.get("Contents", ())]
        return sorted(folders), sorted(key for key in loose if key)

    def objects(self, folder: str = "") -> list[StoredObject]:
        """Return all objects under `folder/`, sorted by key; keys are relative to it and not checked."""
        under = f"{folder}/" if folder else ""
        start = len(self.prefix) + len(under)
        with self.explain_errors(folder):
            found = [each for page in self._pages(under) for each in page.get("Contents", ())]
        stored = [StoredObject(each["Key"][start:], each["Size"], each["ETag"].strip('"')) for each in found]
        return sorted((each for each in stored if each.key), key=lambda each: each.key)

    def _pages(self, under: str, **options: str) -> Iterator[dict[str, Any]]:
        pages = self.client.get_paginator("list_objects_v2")
        return iter(pages.paginate(Bucket=self.name, Prefix=self.prefix + under, **options))

    def read(self, key: str, most: int) -> bytes | None:
        """Return a small object's content; None if it does not exist.

        Raises:
            BeyondLimitsError: it is larger than `most` bytes; it is then not fetched.
            CacError: it cannot be read.
        """
        with self.explain_errors(key):
            try:
                return self._content(key, most)
            except self.client.exceptions.NoSuchKey:
                return None

    def fetch(self, key: str, most: int | None = None) -> bytes:
        """Return the content of an object that must exist.

        Raises:
            BeyondLimitsError: it is larger than `most` bytes; it is then not fetched.
            StoreUnreachableError: the store does not answer, or there are no credentials.
            CacError: it does not exist, or may not be read.
        """
        with self.explain_errors(key):
            return self._content(key, most)

    def _content(self, key: str, most: int | None) -> bytes:
        answer = self.client.get_object(**self.location(key))
        size = answer["ContentLength"]
        if most is not None and size > most:
            raise BeyondLimitsError(f"{self.url(key)} has {size} bytes, of {most} allowed. Give a smaller file.")
        content: bytes = answer["Body"].read()
        return content

    def write(self, key: str, content: bytes) -> None:
        """Write a small object, in one step."""
        with self.explain_errors(key):
            self.client.put_object(**self.location(key), Body=content, ContentMD5=md5_of(content)[0])

    def copy(self, key: str, to: str) -> None:
        """Copy an object within the folder, on the server."""
        from boto3.s3.transfer import TransferConfig

        config = TransferConfig(multipart_threshold=_COPY_AT_ONCE)
        with self.explain_errors(key):
            self.client.copy(self.location(key), self.name, self.prefix + to, Config=config)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; a missing object is not an error."""
        for key in keys:
            with self.explain_errors(key):
                self.client.delete_object(**self.location(key))

    def location(self, key: str) -> dict[str, str]:
        """Return the bucket and key of an object as arguments of boto3."""
        return {"Bucket": self.name, "Key": self.prefix + key}

    @contextmanager
    def explain_errors(self, key: str) -> Iterator[None]:
        """Turn errors of boto3 and the disk into a message with the URL and what to do."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        url = printable(self.url(key))
        try:
            yield
        except ClientError as error:
            said = error.response.get("Error", {})
            advice = _ADVICE.get(said.get("Code", ""), said.get("Message") or "The server gave no reason.")
            raise CacError(f"{url}: {error.operation_name} was refused ({said.get('Code')}). {advice}") from error
        except (BotoCoreError, Boto3Error) as error:
            raise StoreUnreachableError(
                f"{url}: {error}. Check AWS_ENDPOINT_URL_S3, AWS_PROFILE and the AWS_… keys, and that the "
                "server runs; then run again."
            ) from error
        except OSError as error:
            raise CacError(
                f"{error.filename or url}: {error.strerror}. Free some space, or check the permissions."
            ) from error


def read_object(address: str, most: int | None = None) -> bytes:
    """Return the content of the object at `s3://BUCKET/KEY`; raises as `Bucket.fetch`, and CacError for another URL."""
    found = _URL.fullmatch(address)
    if not found or not found["prefix"]:
        raise CacError(f"{printable(address)!r} is not the URL of an S3 object. Give s3://BUCKET/KEY.")
    return Bucket(f"{SCHEME}{found['bucket']}", tries=_ATTEMPTS_FOR_ONE_OBJECT).fetch(found["prefix"], most)


def _client(tries: int) -> Any:
    """Return boto3's client.

    A checksum of an object does not fit a range of it, so checksums of responses are requested only where S3 requires
    them. What arrives is compared with the manifest's SHA-256.
    """
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=16,
        response_checksum_validation="when_required",
        retries={"mode": "standard", "total_max_attempts": tries},
    )
    return boto3.session.Session().client("s3", config=config)  # the default session keeps the first credentials


def max_attempts(usual: int = _ATTEMPTS) -> int:
    """Return the number of attempts of a call."""
    value = os.environ.get("AWS_MAX_ATTEMPTS", str(usual))
    if not re.fullmatch(r"[1-9]\d?", value):
        raise CacError(f"AWS_MAX_ATTEMPTS is {value!r}. Give a number from 1 to 99.")
    return int(value)


def md5_of(content: bytes) -> tuple[str, str]:
    """Return the MD5 in base64 as a request carries it, and in hex as an ETag does."""
    made = hashlib.md5(content, usedforsecurity=False)
    return base64.b64encode(made.digest()).decode(), made.hexdigest()
