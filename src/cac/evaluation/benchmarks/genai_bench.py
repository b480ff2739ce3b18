"""GenAI-Bench (arXiv 2406.04485), its part `video_generation`: pairs of videos of one prompt with a vote.

Read from Parquet files anywhere in the folder. `vote_type` is `leftvote`, `rightvote`, `tievote` or `bothbad_vote`; the
latter two are ties. `left_video` and `right_video` are addresses, whose last parts name the files. The parts for images
have other columns and are refused.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cac.data.exchange.label_map import LabelMap
from cac.data.exchange.unusable import UnusableError
from cac.errors import CacError, printable
from cac.evaluation.benchmarks.questions import FIRST, SECOND, TIE, Pair, Reading
from cac.evaluation.benchmarks.rows import check_fields, one_of, read_rows, required_text

TASK = "video_generation"
_FIELDS = ("prompt", "left_model", "left_video", "right_model", "right_video", "vote_type")
_ANSWERS = {"leftvote": FIRST, "rightvote": SECOND, "tievote": TIE, "bothbad_vote": TIE}


def read(folder: Path, label_map: LabelMap) -> Reading:
    """Return the pairs.

    Raises:
        CacError: there is no Parquet file, one cannot be read, or they are of several splits.
    """
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise CacError(f"{folder} has no Parquet file. Copy GenAI-Bench's `{TASK}` there.")
    reading = Reading()
    for path in files:
        part = _read_file(path, label_map)
        reading.questions += part.questions
        for reason, names in part.refused.items():
            reading.refused[reason] += names
    _check_one_split(reading)
    return reading


def _read_file(path: Path, label_map: LabelMap) -> Reading:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            try:
                check_fields(dict.fromkeys(file.schema_arrow.names), _FIELDS, label_map)
            except UnusableError as error:  # before reading: the parts for images are large
                reading = Reading()
                reading.refused[str(error)] += [f"{path.name}, row {row + 1}" for row in range(file.metadata.num_rows)]
                return reading
            return read_rows(_rows(path, file), partial(_read_row, label_map))
    except (pa.ArrowException, OSError) as error:
        raise CacError(f"{path} is no readable Parquet file: {printable(str(error))}. Download it again.") from error


def _rows(path: Path, file: Any) -> Iterator[tuple[str, Any]]:
    columns = [name for name in _FIELDS if name in file.schema_arrow.names]
    number = 0
    for batch in file.iter_batches(columns=columns):
        for row in batch.to_pylist():
            number += 1
            yield f"{path.name}, row {number}", row


def _read_row(label_map: LabelMap, where: str, row: Any) -> Pair:
    first, second = required_text(row, "left_video"), required_text(row, "right_video")
    if first == second:
        raise UnusableError("a pair of one video with itself")
    preference = one_of(row, "vote_type", _ANSWERS)
    return Pair(where, first, second, {TASK: preference}, required_text(row, "prompt"))


def _check_one_split(reading: Reading) -> None:
    """Check that files are parts of one split: `test` and `test_v1` are versions of the benchmark.

    Raises:
        CacError: they are not.
    """
    splits = sorted({question.name.partition(",")[0].partition("-")[0] for question in reading.questions})
    if len(splits) > 1:
        raise CacError(f"files of several splits: {', '.join(splits)}. Keep those of one in the folder.")
