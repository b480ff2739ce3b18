"""Read files of one JSON record a line, of any length: one line at a time, with a limit on the size of a line.

Out of scope: the records' content (`data/validation/clip_facts.py` for clips, `annotator_agreement.py` for opinions).
"""

from collections.abc import Iterator
from pathlib import Path

from cac.errors import CacError
from cac.io.progress import open_with_progress

MAX_BYTES = 16 * 1024 * 1024  # of one line; parsed, it takes about ten times as much memory


def iter_lines(path: Path, doing: str) -> Iterator[tuple[int, bytes | None]]:
    """Yield (number from 1, line) of a file, None instead of a line larger than `MAX_BYTES`.

    A progress bar on stderr says what is being done.

    Raises:
        CacError: the file cannot be read.
    """
    try:
        with open_with_progress(path, doing) as file:
            number = 0
            while line := file.readline(MAX_BYTES + 1):
                number += 1
                if len(line) <= MAX_BYTES:
                    yield number, line
                    continue
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_BYTES)
                yield number, None
    except OSError as error:
        raise CacError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
