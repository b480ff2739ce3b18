"""Map a function over independent pieces of work in several processes, with the results in order.

The processes ignore Ctrl-C, which the parent handles, and end with the parent even if it is killed. The pool is that of
`concurrent.futures`: with joblib (loky), the workers of a killed parent were still running after seconds (measured).
Out of scope: retries, and results that depend on the number of processes.
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

CHUNK_SIZE = 8  # sent to a process together


def parallel_map(
    work: Callable[[Piece], Result],
    pieces: Iterable[Piece],
    processes: int | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> Iterator[Result]:
    """Yield `work(piece)` of each piece, in order; `work`, pieces and results must be picklable.

    An exception of a piece is raised here; the other processes are then ended and the remaining pieces dropped.

    Args:
        work: a function that the processes can import.
        pieces: its arguments.
        processes: their number; by default that of the cores.
        chunk_size: pieces that are sent to a process together.
    """
    context = multiprocessing.get_context("spawn")
    watched, held = context.Pipe(duplex=False)
    count = processes or len(os.sched_getaffinity(0))
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(watched,))
    try:
        yield from pool.map(work, pieces, chunksize=chunk_size)
    except BaseException:
        held.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(watched: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(watched,), daemon=True).start()


def _end_with_parent(watched: Connection) -> None:
    """End this process when the parent closes its end of the pipe, as the kernel does when the parent dies."""
    wait([watched])
    os._exit(1)
