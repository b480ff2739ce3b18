"""From listed videos to the rows of the table: reading and decoding run ahead in threads while the model judges."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from cac.batch.listing import ListedVideo, Source
from cac.batch.plan import BatchSettings
from cac.errors import CacError
from cac.io.s3 import StoreUnreachableError
from cac.schema.judgement import Judgement
from cac.schema.score_row import score_row, version_of
from cac.video.decode import AnyVideo, open_video

if TYPE_CHECKING:
    from cac.registry.pinned import PinnedModel

_READERS = 4

Judged = tuple[float, Judgement]


@dataclass(frozen=True)
class Loaded:
    """A read video: its frames or an error, and the hash of its content if that could be read."""

    listed: ListedVideo
    video: AnyVideo | None
    sha256: str | None
    error: str | None


def part_rows(
    pinned: "PinnedModel", source: Source, settings: BatchSettings, parts: Sequence[Sequence[ListedVideo]]
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each part, one row per video, in order.

    Raises:
        StoreUnreachableError: the source does not answer.
    """
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="read")
    try:
        loaded = ahead(pool, chain.from_iterable(parts), lambda one: load(source, one, settings), settings.batch_size)
        for part in parts:
            batches = _batches(islice(loaded, len(part)), settings.batch_size)
            yield list(chain.from_iterable(_rows(pinned, batch, settings.batch_size) for batch in batches))
    finally:
        pool.shutdown(cancel_futures=True)


def ahead(
    pool: ThreadPoolExecutor, items: Iterable[ListedVideo], work: Callable[[ListedVideo], Loaded], depth: int
) -> Iterator[Loaded]:
    """Yield the result of `work` for each item, in order, with up to `depth` further items in progress or done."""
    waiting: deque[Future[Loaded]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > depth:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def load(source: Source, listed: ListedVideo, settings: BatchSettings) -> Loaded:
    """Read and decode a video; an error of this video is recorded, not raised.

    Raises:
        StoreUnreachableError: the source does not answer.
    """
    sha256 = None
    try:
        content = source.read(listed, settings.max_bytes)
        sha256 = hashlib.sha256(content).hexdigest()
        return Loaded(listed, open_video(content, settings.limits, name=listed.name), sha256, None)
    except StoreUnreachableError:
        raise
    except CacError as error:
        return Loaded(listed, None, sha256, str(error))


def _batches(loaded: Iterator[Loaded], size: int) -> Iterator[list[Loaded]]:
    while batch := list(islice(loaded, size)):
        yield batch


def _rows(pinned: "PinnedModel", batch: Sequence[Loaded], size: int) -> list[dict[str, Any]]:
    judged = iter(_judge(pinned, [one.video for one in batch if one.video is not None], size))
    return [_row(pinned, one, one.error if one.video is None else next(judged)) for one in batch]


def _judge(pinned: "PinnedModel", videos: Sequence[AnyVideo], size: int) -> list[Judged | str]:
    """Judge a batch. If the model rejects an input, judge one by one, with the reason in place of its judgement."""
    if not videos:
        return []
    try:
        return list(pinned.judge(videos, size))
    except ValueError as error:  # image processors raise it for unusable frames
        if len(videos) == 1:
            return [f"the model cannot process this video: {error}"]
        return [_judge(pinned, [video], size)[0] for video in videos]


def _row(pinned: "PinnedModel", one: Loaded, judged: Judged | str | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "video": one.listed.name,
        "size_bytes": one.listed.size,
        "sha256": one.sha256,
    }
    if isinstance(judged, tuple):
        return row | score_row(*judged, pinned.threshold, pinned.source)
    return row | {"error": judged, "model": pinned.source, "model_version": version_of(pinned.source)}
