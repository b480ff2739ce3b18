"""The Parquet files: one per part, and the table they are joined into. The same rows give the same bytes."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cac.errors import CacError

if TYPE_CHECKING:
    import pyarrow as pa

_PROVENANCE_KEY = b"cac"  # the key of the settings in the file's own metadata
_ROW_GROUP = 4096


def schema() -> "pa.Schema":
    """Return the table's columns; docs/how-to/score-a-folder.md describes them."""
    import pyarrow as pa

    text, numbers = pa.string(), pa.list_(pa.float64())
    return pa.schema(
        [
            ("video", text),
            ("size_bytes", pa.int64()),
            ("sha256", text),
            ("score", pa.float64()),
            ("verdict", text),
            ("threshold", pa.float64()),
            ("windows", pa.list_(numbers)),
            ("family", text),
            ("leaf", text),
            ("boxes", pa.list_(pa.struct([("time", pa.float64()), ("box", numbers)]))),
            ("evidence", text),
            ("parsed", pa.bool_()),
            ("warnings", pa.list_(text)),
            ("error", text),
            ("model", text),
            ("model_version", text),
        ]
    )


def write_part(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as a file, atomically."""
    import pyarrow as pa

    _write(path, schema(), [pa.Table.from_pylist(list(rows), schema=schema())])


def join_parts(parts: Sequence[Path], out: Path, scratch: Path, provenance: Mapping[str, Any]) -> None:
    """Write the parts as one table, which replaces `out` once it is complete.

    Args:
        parts: in the order of their rows.
        out: the table.
        scratch: a path on the same file system, where it is written first.
        provenance: kept in the file's metadata; `read_provenance` gives it back.
    """
    import pyarrow.parquet as pq

    text = json.dumps(provenance, sort_keys=True).encode()
    described = schema().with_metadata({_PROVENANCE_KEY: text})
    _write(scratch, described, (pq.ParquetFile(part).read() for part in parts))
    scratch.replace(out)


def read_provenance(table: Path) -> dict[str, Any] | None:
    """Return the provenance of a table; None if `cac` did not write it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(table).metadata or {}
        provenance: dict[str, Any] = json.loads(metadata[_PROVENANCE_KEY])
    except (pa.ArrowInvalid, OSError, KeyError, ValueError):
        return None
    return provenance


def read_columns(table: Path, *columns: str) -> list[tuple[Any, ...]]:
    """Return the values of some columns, as one tuple per row."""
    import pyarrow.parquet as pq

    read = pq.ParquetFile(table).read(columns=list(columns))
    return list(zip(*(read.column(name).to_pylist() for name in columns), strict=True))


def _write(path: Path, columns: "pa.Schema", tables: Iterable["pa.Table"]) -> None:
    import pyarrow.parquet as pq

    unfinished = path.with_suffix(".unfinished")
    try:
        with pq.ParquetWriter(unfinished, columns, compression="zstd") as writer:
            for table in _in_row_groups(tables, columns):
                writer.write_table(table)
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise CacError(f"cannot write {path}: {error.strerror or error}. Free disk space, and run again.") from error


def _in_row_groups(tables: Iterable["pa.Table"], columns: "pa.Schema") -> Iterator["pa.Table"]:
    """Yield the rows in row groups of a size that is fast to read, independent of the parts."""
    import pyarrow as pa

    held: list[pa.Table] = []
    for table in tables:
        held.append(table.cast(columns))
        if sum(len(one) for one in held) >= _ROW_GROUP:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)
