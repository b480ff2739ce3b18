"""The facts of all clips as a table in a temporary SQLite file, so that memory does not limit their number.

Great Expectations queries this table in SQL, and so do the checks that compare lines: pairs, and leaks between splits.
Text is HTML-escaped on insert and unescaped on select, because Data Docs write values into HTML unescaped. Out of
scope: what is asserted (`checks.py`).
"""

import html
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from cac.data.validation.clip_facts import EXPECTED, ClipFacts, iter_facts
from cac.schema.taxonomy import Family

_SHOWN = 3  # clips that a leak names
_TEXT = ("clip_id", "path", "pair_id", "split", "file_sha256", *(f"{check}_problem" for check in EXPECTED))
_NUMBERS = ("duration", "clean", *(family.value for family in Family))
_COLUMNS = ("line", *_TEXT, *_NUMBERS, "perceptual_hash")

_SCHEMA = f"""
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE;
CREATE TABLE clips (line INTEGER PRIMARY KEY, {", ".join(f"{name} TEXT" for name in _TEXT)},
                    {", ".join(f"{name} REAL" for name in _NUMBERS)}, perceptual_hash BLOB);
CREATE TABLE opinions (line INTEGER PRIMARY KEY, clip_id TEXT, annotator TEXT, said TEXT, opinion_problem TEXT);
CREATE TABLE drift (measure TEXT PRIMARY KEY, drift REAL);
"""
_INDEXES = "".join(f"CREATE INDEX by_{name} ON clips ({name});" for name in ("clip_id", "path", "pair_id",
                                                                            "file_sha256"))  # fmt: skip

# A pair with an invalid line is not judged: its other clip is not at fault.
_PAIRS = """
UPDATE clips SET pair_problem = found.problem FROM (
    SELECT pair_id AS key, pair_problem(pair_id, SUM(clean), COUNT(*)) AS problem
    FROM clips WHERE pair_id IS NOT NULL GROUP BY pair_id
    HAVING COUNT(clean) = COUNT(*) AND (SUM(clean) != 1 OR COUNT(*) != 2)
) AS found WHERE clips.pair_id = found.key
"""
_LEAKS = """
UPDATE clips SET {check}_problem = found.problem FROM (
    SELECT {key} AS key, places(clip_id, split) AS problem
    FROM (SELECT {key}, clip_id, split FROM clips WHERE {key} IS NOT NULL AND split IS NOT NULL ORDER BY {key}, line)
    GROUP BY {key} HAVING COUNT(DISTINCT split) > 1
) AS found WHERE clips.{key} = found.key
"""


class FactsTable:
    """The table, as a context manager that deletes the file on exit. `path` is the SQLite file."""

    def __init__(self) -> None:
        """Make an empty table in the folder for temporary files (`TMPDIR`); a clip takes about half a kilobyte."""
        self._folder = TemporaryDirectory(prefix="cac-facts-")
        self.path = Path(self._folder.name) / "facts.db"
        self._database = sqlite3.connect(self.path)
        self._database.executescript(_SCHEMA)
        self._database.create_function("pair_problem", 3, _pair_problem, deterministic=True)
        self._database.create_aggregate("places", 2, _SplitList)  # type: ignore[arg-type]  # typeshed: any number

    def __enter__(self) -> Self:
        """Return the table."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the file."""
        self._database.close()
        self._folder.cleanup()

    def add(self, facts: ClipFacts) -> None:
        """Add a line's facts."""
        row = facts.row()
        marks = ", ".join("?" * len(_COLUMNS))
        self._database.execute(f"INSERT INTO clips VALUES ({marks})", [_escaped(row[name]) for name in _COLUMNS])

    def compare_lines(self) -> None:
        """Note problems that need several lines: incomplete pairs, and pairs and contents in more than one split."""
        self._database.executescript(_INDEXES)
        self._database.execute(_PAIRS)
        for check, key in (("pair_leak", "pair_id"), ("file_leak", "file_sha256")):
            self._database.execute(_LEAKS.format(check=check, key=key))
        self._database.commit()

    def problems(self, check: str) -> Iterator[tuple[int, str]]:
        """Yield (line, problem) of the clips that a check found at fault, in their order."""
        column = f"{check}_problem"
        yield from self.select(f"SELECT line, {column} FROM clips WHERE {column} IS NOT NULL ORDER BY line")

    def note(self, line: int, check: str, problem: str) -> None:
        """Append a problem to those that the check found for this clip."""
        self._database.execute(
            f"UPDATE clips SET {check}_problem = iif({check}_problem IS NULL, ?1, {check}_problem || '; ' || ?1) "
            "WHERE line = ?2", (_escaped(problem), line))  # fmt: skip

    def select(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, their text as it was before it was escaped."""
        for row in self._database.execute(query, [_escaped(value) for value in values]):
            yield tuple(html.unescape(value) if isinstance(value, str) else value for value in row)

    def execute(self, query: str, *values: object) -> None:
        """Change the table; text among the values is escaped."""
        self._database.execute(query, [_escaped(value) for value in values])

    def commit(self) -> None:
        """Commit the changes."""
        self._database.commit()


def _escaped(value: object) -> Any:
    return html.escape(value) if isinstance(value, str) else value


def _pair_problem(pair_id: str, clean: float, clips: int) -> str:
    return html.escape(f"pair {html.unescape(pair_id)!r}: {int(clean)} clean and {clips - int(clean)} anomalous")


class _SplitList:
    """SQLite aggregate: which clips are in which split; only the first few are named."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._count = 0

    def step(self, clip_id: str, split: str) -> None:
        """Take a clip; its name is escaped already."""
        self._count += 1
        if len(self._first) < _SHOWN:
            self._first.append(f"{clip_id} in {split}")

    def finalize(self) -> str:
        """Return the text."""
        rest = self._count - len(self._first)
        return "; ".join(self._first) + (f"; and {rest} more" if rest else "")


def gather_facts(dataset: Path, max_side: int = 4096) -> list[ClipFacts]:
    """Return the facts of every manifest line in memory, including problems of pairs and of copies in other splits.

    Raises:
        CacError: as `iter_facts`.
    """
    facts = []
    with FactsTable() as table:
        for one in iter_facts(dataset, max_side):
            table.add(one)
            facts.append(one)
        table.compare_lines()
        for check in ("pair", "pair_leak", "file_leak"):
            for line, problem in table.problems(check):
                facts[line - 1].problems[check] = problem
    return facts
