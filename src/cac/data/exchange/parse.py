"""Parse files of other tools with care: limited in size, strict in shape, every error a `CacError`.

Every text reader takes its files from here: gzip is unpacked, and a byte order mark, UTF-16 and UTF-32 are understood.
The parts of a file are checked one by one with `as_box` and similar functions, so that one bad annotation does not
cost the others. Out of scope: the meaning of the parts, which the formats know.
"""

import codecs
import io
import json
import math
import zlib
from collections.abc import Iterator
from gzip import GzipFile
from pathlib import Path
from typing import Any

from cac.data.exchange.unusable import UnusableError
from cac.errors import CacError, printable
from cac.schema.geometry import Box

MAX_BYTES = 256 * 1024 * 1024  # of one file; parsed, it takes about ten times as much memory
MAX_FILES = 100_000


# A byte order mark → the encoding it names; UTF-32 first, because its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


def read_bytes(path: Path) -> bytes:
    """Return a file's content, unpacked if it is gzip.

    Raises:
        CacError: it is missing, unreadable, larger than `MAX_BYTES`, or compressed in another way.
    """
    try:
        if not path.is_file():
            raise CacError(f"no file at {path}. Name the file that the other tool exported.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CacError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
    if content[:2] == b"\x1f\x8b":
        content = _unpacked(content, path)
    if content[:4] == b"PK\x03\x04":
        raise CacError(f"{path} is a zip archive. Unpack it and name the file in it.")
    if len(content) > MAX_BYTES:
        raise CacError(f"{path} is larger than {MAX_BYTES >> 20} MiB. Split the export into several files.")
    return content


def _unpacked(content: bytes, path: Path) -> bytes:
    try:
        with GzipFile(fileobj=io.BytesIO(content)) as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CacError(f"{path} is compressed, but not a whole gzip file ({error}). Copy it again.") from error


def as_utf8(content: bytes) -> tuple[bytes, bool]:
    """Return text with a byte order mark as UTF-8 without one, and whether it had one; other content as it is.

    Raises:
        ValueError: the content is not in the encoding that its mark names.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding).encode(), True
    return content, False


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        CacError: as `read_bytes`, or it is not JSON.
    """
    return _parse(read_bytes(path), str(path))


def read_records(path: Path) -> list[Any]:
    """Return the records of a JSON list, of a single JSON object, or of JSON lines (`.jsonl`).

    Raises:
        CacError: as `read_json`.
    """
    if plain_name(path).suffix.lower() == ".jsonl":
        lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return [_parse(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]
    value = read_json(path)
    return value if isinstance(value, list) else [value]


def read_text(path: Path) -> str:
    """Return a text file in UTF-8, UTF-16 or UTF-32.

    Raises:
        CacError: as `read_bytes`, or it is no text.
    """
    content = read_bytes(path)
    try:
        return content.decode(json.detect_encoding(content), "surrogatepass")
    except ValueError as error:
        raise CacError(f"{path}: no text ({printable(str(error))}). Export it again.") from error


def _parse(content: bytes | str, where: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:  # besides bad JSON: not UTF-8, numbers too long, nesting too deep
        raise CacError(f"{where}: not valid JSON ({printable(str(error))}). Export it again.") from error


def plain_name(path: Path) -> Path:
    """Return a path without the `.gz` that compression adds."""
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def source_files(source: Path, *suffixes: str) -> Iterator[Path]:
    """Yield the source itself if it is a file, or the files with these suffixes in the folder it is, sorted.

    Raises:
        CacError: there is no such file, or there are too many.
    """
    if not source.is_dir():
        yield source
        return
    files = sorted(path for path in source.iterdir() if plain_name(path).suffix.lower() in suffixes and path.is_file())
    if not files:
        raise CacError(f"{source} holds no {' or '.join(suffixes)} file. Name the file or folder that was exported.")
    if len(files) > MAX_FILES:
        raise CacError(f"{source} holds more than {MAX_FILES} files. Import it in parts.")
    yield from files


def as_number(value: object) -> float:
    """Return a finite number, given as a number or as text.

    Raises:
        UnusableError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UnusableError("a coordinate or time is no number")
    try:
        number = float(value)
    except (ValueError, OverflowError):  # no number; an integer beyond what a float holds
        raise UnusableError("a coordinate or time is no number") from None
    if not math.isfinite(number):
        raise UnusableError("a coordinate or time is not finite")
    return number


def as_frame(value: object) -> int:
    """Return a whole frame number, given as a number or as text.

    Raises:
        UnusableError: it is not.
    """
    number = as_number(value)
    if number != int(number):
        raise UnusableError("a frame number is not whole")
    return int(number)


def as_box(values: object) -> Box:
    """Return four finite numbers.

    Raises:
        UnusableError: they are not.
    """
    if not isinstance(values, list | tuple) or len(values) != 4:
        raise UnusableError("a box is not four numbers")
    a, b, c, d = (as_number(value) for value in values)
    return (a, b, c, d)


def as_list_of_numbers(values: object) -> list[float]:
    """Return a list of finite numbers.

    Raises:
        UnusableError: it is not.
    """
    if not isinstance(values, list | tuple):
        raise UnusableError("coordinates that are no list of numbers")
    return [as_number(value) for value in values]


def as_text(value: object) -> str | None:
    """Return a non-empty text that can be written to a file, or None."""
    if not isinstance(value, str) or not value.strip():
        return None
    return value if value == value.encode("utf-8", "replace").decode() else None


def as_id(value: object) -> str | None:
    """Return an id as text, so that 1, 1.0 and "1" are the same one; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value).strip() or None


def as_list(value: object, what: str, where: Path) -> list[Any]:
    """Return a list.

    Raises:
        CacError: it is not; the message says what was expected where.
    """
    if not isinstance(value, list):
        raise CacError(f"{where}: {what} is no list. Is this the right format?")
    return value
