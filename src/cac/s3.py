"""Objects of an S3 store by their `s3://bucket/key` address, read through boto3.

Endpoint, keys and region come from the environment (`AWS_ENDPOINT_URL_S3`, `AWS_ACCESS_KEY_ID`, …), as boto3 reads it;
nothing here takes a secret. Left out: writing, and retries beyond boto3's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cac.errors import CacError
from cac.video import BeyondLimitsError

SCHEME = "s3://"


class StoreUnreachableError(CacError):
    """The store does not answer, or there are no keys: a fault of the place, not of one object."""


@dataclass(frozen=True)
class S3Object:
    """An object of a listing: its key, its size in bytes, and its ETag, which changes with its content."""

    key: str
    size: int
    etag: str


def split_address(address: str) -> tuple[str, str]:
    """Return the bucket and the key (or prefix, perhaps empty) of `s3://bucket/key`.

    Raises:
        CacError: it is no such address.
    """
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    if not address.startswith(SCHEME) or not bucket:
        raise CacError(f"{address!r} is no address of an S3 object. Write it as s3://bucket/key.")
    return bucket, key


def read_object(address: str, most_bytes: int | None = None) -> bytes:
    """Return an object's content.

    Raises:
        BeyondLimitsError: it is larger than `most_bytes`; it is not fetched then.
        StoreUnreachableError: the store does not answer, or there are no keys.
        CacError: there is no such object, or it may not be read.
    """
    bucket, key = split_address(address)
    with _clear_errors(address):
        answer = _client().get_object(Bucket=bucket, Key=key)
        size = answer["ContentLength"]
        if most_bytes is not None and size > most_bytes:
            raise BeyondLimitsError(f"{address} has {size} bytes, of {most_bytes} allowed. Give a smaller file.")
        return answer["Body"].read()


def list_objects(address: str) -> list[S3Object]:
    """Return the objects below `s3://bucket/prefix`, sorted by key; a prefix means a folder, so `a` does not name `ab`.

    Raises:
        StoreUnreachableError: the store does not answer, or there are no keys.
        CacError: there is no such bucket, or it may not be listed.
    """
    bucket, prefix = split_address(address)
    folder = f"{prefix.rstrip('/')}/" if prefix else ""
    with _clear_errors(address):
        pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
        found = [entry for page in pages for entry in page.get("Contents", [])]
    return sorted((S3Object(e["Key"], e["Size"], e["ETag"].strip('"')) for e in found), key=lambda one: one.key)


def _client() -> Any:
    import boto3

    return boto3.session.Session().client("s3")  # a session of its own: boto3's shared one is not safe in threads


@contextmanager
def _clear_errors(address: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        raise CacError(f"{address} cannot be read: the store says {code}. Check the address and your keys.") from error
    except BotoCoreError as error:
        raise StoreUnreachableError(
            f"{address} cannot be read: {error}. Check AWS_ENDPOINT_URL_S3 and the AWS keys in the environment."
        ) from error
