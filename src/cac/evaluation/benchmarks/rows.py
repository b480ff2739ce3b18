"""Reading a benchmark's rows one by one: a row with a part that is not known is refused by name, not guessed at.

A field that means nothing for the answer can be listed in the label map's `known_parts`.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cac.data.exchange.label_map import LabelMap
from cac.data.exchange.parse import as_text, read_text
from cac.data.exchange.unusable import UnusableError
from cac.errors import CacError, printable
from cac.evaluation.benchmarks.questions import Question, Reading

Row = Mapping[str, Any]
_MORE = "(more cells than the header has)"


def read_rows(rows: Iterable[tuple[str, Any]], read: Callable[[str, Row], Question]) -> Reading:
    """Return the question of each row.

    Args:
        rows: (where, row); `where` names the row in messages.
        read: turns (where, row) into a question, or raises an `UnusableError`.
    """
    reading, known = Reading(), set()
    for where, row in rows:
        try:
            if not isinstance(row, dict):
                raise UnusableError("a row that is no object")
            question = read(where, row)
            if question.name in known:
                raise UnusableError("the same question twice")
        except UnusableError as error:
            reading.refused[str(error)].append(where)
            continue
        known.add(question.name)
        reading.questions.append(question)
    return reading


def check_fields(row: Row, known: Iterable[str], label_map: LabelMap) -> None:
    """Check that every field of a row is known to the reader or the label map.

    Raises:
        UnusableError: some are not; the reason names them.
    """
    unknown = [f"`{printable(str(name))}`" for name in row if name not in set(known)]
    reasons = label_map.unknown_parts(sorted(unknown))
    if reasons:
        raise UnusableError("; ".join(reasons))


def required_text(row: Row, name: str) -> str:
    """Return a field's text.

    Raises:
        UnusableError: there is none.
    """
    text = as_text(row.get(name))
    if text is None:
        raise UnusableError(f"no `{name}`")
    return text


def one_of(row: Row, name: str, answers: Mapping[str, int]) -> int:
    """Return what a field's answer means.

    Raises:
        UnusableError: it is none of `answers`.
    """
    given = row.get(name)
    if not isinstance(given, str) or given not in answers:
        raise UnusableError(f"`{name}` is {printable(repr(given))}, not {' or '.join(answers)}")
    return answers[given]


def csv_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield (where, row) of a CSV file with a header.

    Raises:
        CacError: it is missing or no CSV.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True, restkey=_MORE)
        if len(set(reader.fieldnames or ())) < len(reader.fieldnames or ()):
            raise CacError(f"{path} has two columns of one name. Name them apart.")
        yield from ((f"{path.name}, row {number}", row) for number, row in enumerate(reader, start=1))
    except csv.Error as error:
        raise CacError(f"{path} is no valid CSV: {error}. Download it again.") from error
