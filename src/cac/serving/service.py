"""From a request to a score: admission, reading, decoding, judging, each with a limit.

Two limits bound the queue: `max_requests` requests in progress, beyond which requests are rejected at once, and decoded
videos for two batches, because these take the memory. Decoding runs in threads beside the model. HTTP is in `app.py`.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cac.errors import BeyondLimitsError, CacError
from cac.io.s3 import StoreUnreachableError, read_object
from cac.registry.pinned import PinnedModel
from cac.schema.judgement import Judgement
from cac.schema.score_row import score_row, version_of
from cac.serving import request_errors
from cac.serving.batcher import Batcher
from cac.serving.metrics import Metrics
from cac.serving.settings import ServeSettings
from cac.serving.upload import ScoreRequest, read_request
from cac.video.decode import AnyVideo, open_video

if TYPE_CHECKING:
    from starlette.requests import Request

_DECODERS = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedVersion:
    """The served version, resolved at start-up: `models:/NAME/NUMBER`, and the number; None for a package."""

    model: str
    model_version: str | None


class ScoringService:
    """Scores requests with one pinned model."""

    def __init__(self, pinned: PinnedModel, settings: ServeSettings) -> None:
        self.version = ServedVersion(pinned.source, version_of(pinned.source))
        self.metrics = Metrics(pinned.source)
        self._pinned = pinned
        self._settings = settings
        self._in_progress = 0
        self._closing = False
        self._room = asyncio.Semaphore(settings.decoded_at_once)
        self._decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode")
        self._batcher = Batcher(self._judge, settings.batch_size, settings.batch_wait)
        self.metrics.watch(
            "cac_requests_under_way", "Requests in progress: being read, decoded or judged.", lambda: self._in_progress
        )
        self.metrics.watch("cac_queue_videos", "Decoded videos waiting for a batch.", lambda: self._batcher.waiting)

    @property
    def ready(self) -> bool:
        """Whether the service answers requests."""
        return self._batcher.alive and not self._closing

    def close(self) -> None:
        """Finish the submitted requests, then stop the threads."""
        self._closing = True
        self._batcher.close()
        self._decoders.shutdown(cancel_futures=True)

    async def score(self, request: "Request") -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            RequestError: the request gets no score; the reason is counted.
        """
        started = time.monotonic()
        try:
            with self._admitted():
                wanted = await self._read(request)
                score, judgement = await self._judged(wanted)
        except request_errors.RequestError as refusal:
            self.metrics.errors.labels(refusal.kind).inc()
            raise
        self.metrics.count_answer(score, str(judgement.verdict), judgement.parsed)
        self.metrics.seconds.observe(time.monotonic() - started)
        row = score_row(score, judgement, self._pinned.threshold, self.version.model)
        return {**row, "prompt": wanted.prompt}

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if self._in_progress >= self._settings.max_requests:
            raise request_errors.busy(self._settings.max_requests)
        self._in_progress += 1
        try:
            yield
        finally:
            self._in_progress -= 1

    async def _read(self, request: "Request") -> ScoreRequest:
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await read_request(request, self._settings)
        except TimeoutError as error:
            raise request_errors.too_slow(self._settings.timeout) from error

    async def _judged(self, wanted: ScoreRequest) -> tuple[float, Judgement]:
        try:
            async with asyncio.timeout(self._settings.timeout), self._room:
                loop = asyncio.get_running_loop()
                video = await loop.run_in_executor(self._decoders, self._decode, wanted.video)
                return await asyncio.wrap_future(self._batcher.submit(video))
        except TimeoutError as error:
            raise request_errors.timed_out(self._settings.timeout) from error
        except request_errors.RequestError:
            raise
        except Exception as error:
            _log.exception("a video could not be judged")
            raise request_errors.judge_failed() from error

    def _decode(self, video: bytes | Path | str) -> AnyVideo:
        limits, max_bytes = self._settings.limits, self._settings.max_bytes
        try:
            if isinstance(video, bytes):
                return open_video(video, limits, name="the upload")
            if isinstance(video, str):
                return open_video(read_object(video, max_bytes), limits, name=video)
            if video.is_file() and video.stat().st_size > max_bytes:
                raise request_errors.too_large(max_bytes)
            return open_video(video, limits)
        except BeyondLimitsError as error:
            raise request_errors.beyond_limits(str(error)) from error
        except StoreUnreachableError as error:
            raise request_errors.store_unreachable(str(error)) from error
        except CacError as error:
            raise request_errors.not_a_video(str(error)) from error

    def _judge(self, videos: Sequence[AnyVideo]) -> list[tuple[float, Judgement]]:
        self.metrics.batch_size.observe(len(videos))
        with self.metrics.judge_seconds.time():
            return self._pinned.judge(videos, self._settings.batch_size)
