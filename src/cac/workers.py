"""Independent pieces of work spread over the cores, their results in order.

The processes leave a Ctrl-C to the one that started them, and end with it even if it is killed. Left out: retries, and
anything that would make a result depend on how many processes there are.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")

PIECES_AT_ONCE = 8  # handed to a process together


def spread(work: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
    """Yield `work(piece)` of each piece, in order; `work`, pieces and results must be picklable.

    What a piece raises is raised here, and what has not been begun by then is dropped.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=context, initializer=_begin)
    try:
        yield from pool.map(work, pieces, chunksize=PIECES_AT_ONCE)
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
