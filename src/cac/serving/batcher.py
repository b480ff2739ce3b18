"""Dynamic batching: videos that arrive separately are judged together.

A single thread does all judging, because a model must not be used by two threads at once. It takes the first waiting
video, waits a moment for more, and judges what has arrived. The number of waiting items is not limited here; callers
must limit it.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Waiting(Generic[Item, Result]):
    """An item and the future of its result. The item is in a list, which is emptied when the future is cancelled."""

    held: list[Item]
    future: "Future[Result]"

    def drop_if_cancelled(self, _: "Future[Result]") -> None:
        """Release the item of a cancelled future at once: it may hold much memory while it waits in the queue."""
        if self.future.cancelled():
            self.held.clear()


class Batcher(Generic[Item, Result]):
    """Judges submitted items in batches of up to `batch_size`.

    If a batch raises, its items are judged one by one, so that one bad item does not fail the others.
    """

    def __init__(self, judge: Callable[[Sequence[Item]], Sequence[Result]], batch_size: int, wait: float) -> None:
        """Start the thread; `wait` is how many seconds the first item of a batch waits for others."""
        self._judge = judge
        self._batch_size = batch_size
        self._wait = wait
        self._queue: SimpleQueue[_Waiting[Item, Result] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="judge", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether items are being judged."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """How many items wait, not counting those being judged."""
        return self._queue.qsize()

    def submit(self, item: Item) -> "Future[Result]":
        """Return the future of an item's result; cancelling it before its batch begins takes the item out."""
        waiting = _Waiting[Item, Result]([item], Future())
        waiting.future.add_done_callback(waiting.drop_if_cancelled)
        self._queue.put(waiting)
        return waiting.future

    def close(self) -> None:
        """Judge what was submitted so far, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            wanted = [one for one in batch if one.future.set_running_or_notify_cancel()]
            if wanted:
                self._answer(wanted)

    def _next_batch(self) -> list[_Waiting[Item, Result]] | None:
        """Return the next items, at least one; None once the batcher is closed and nothing waits."""
        first = self._queue.get()
        if first is None:
            return None
        batch, deadline = [first], time.monotonic() + self._wait
        while len(batch) < self._batch_size:
            try:
                one = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                break
            if one is None:
                self._queue.put(None)  # seen again once this batch is done
                break
            batch.append(one)
        return batch

    def _answer(self, batch: list[_Waiting[Item, Result]]) -> None:
        try:
            results = self._judge([one.held[0] for one in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            _log.warning("a batch of %d could not be judged (%s); judging one by one", len(batch), error)
            for one in batch:
                self._answer([one])
            return
        for one, result in zip(batch, results, strict=True):
            one.future.set_result(result)
