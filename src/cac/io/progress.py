"""Progress bars on stderr, so that stdout holds results only. The one module below `cac.cli` that imports rich."""

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, TypeVar

Item = TypeVar("Item")


def track(
    items: Iterable[Item],
    description: str,
    total: int | None = None,
    completed: int = 0,
    steps: Callable[[Item], int] = lambda _: 1,
) -> Iterator[Item]:
    """Yield the items and show how many are done.

    Args:
        items: what is iterated over.
        description: what is being done.
        total: number of steps; by default the length of `items`, where it has one.
        completed: steps done before the first item.
        steps: how many steps an item counts for.
    """
    from rich.console import Console
    from rich.progress import Progress

    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, completed=completed)
        for item in items:
            yield item
            progress.advance(task, steps(item))


def open_with_progress(path: Path, description: str) -> AbstractContextManager[BinaryIO]:
    """Open a file for reading bytes, and show how much of it is read.

    Raises:
        OSError: it cannot be opened.
    """
    from rich import progress
    from rich.console import Console

    return progress.open(path, "rb", description=description, console=Console(stderr=True))
