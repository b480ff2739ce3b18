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
from multiprocessing.connection import Connection, wait
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")

CHUNK_SIZE = 8  # handed to a process together


def parallel_map(
    work: Callable[[Piece], Result],
    pieces: Iterable[Piece],
    processes: int | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> Iterator[Result]:
    """Yield `work(piece)` of each piece, in order; `work`, pieces and results must be picklable.

    What a piece raises is raised here; what other processes are at by then ends unfinished, and the rest is dropped.

    Args:
        work: a function that the processes can import.
        pieces: what it is called with.
        processes: how many; as many as there are cores by default.
        chunk_size: pieces that a process is handed together.
    """
    context = multiprocessing.get_context("spawn")
    told, tell = context.Pipe(duplex=False)
    count = processes or len(os.sched_getaffinity(0))
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(told,))
    try:
        yield from pool.map(work, pieces, chunksize=chunk_size)
    except BaseException:
        tell.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(told: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_when_told, args=(told,), daemon=True).start()


def _end_when_told(told: Connection) -> None:
    """End this process when the one that started it closes its end of the pipe, as it does when it is gone."""
    wait([told])
    os._exit(1)
