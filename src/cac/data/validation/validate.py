"""Data validation: is this dataset fit for training?

Reads the manifest line by line, compares every clip with its file, runs the checks of `checks.py` and writes
`result.json` (every check, what was not checked, and the dataset in numbers), `failures.jsonl` (one finding a line,
only if there are any) and Great Expectations' Data Docs in `data_docs/`. The same dataset gives the same bytes. Memory
does not grow with the dataset, except for the perceptual hashes. Out of scope: repairs, and what the frames show.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cac.data.validation.annotator_agreement import record_agreement
from cac.data.validation.checks import Outcome, Scope, failing_rows, list_checks, run_checks
from cac.data.validation.clip_facts import FILE_CHECKS, iter_facts
from cac.data.validation.drift import DatasetProfile, Drift, Reference, measure_drift
from cac.data.validation.facts_table import FactsTable
from cac.data.validation.near_duplicates import note_near_duplicates
from cac.data.validation.summary import Summary
from cac.errors import CacError
from cac.io.aside import new_folder
from cac.params import Validation

RESULT_NAME = "result.json"
FAILURES_NAME = "failures.jsonl"
DOCS_NAME = "data_docs"

_NAMED = 5
_NO_REFERENCE = "no reference: name an earlier version with validation.reference or --reference"


@dataclass(frozen=True)
class _Gathered:
    """Counts made while filling the table; `opinions` is None if the dataset has none."""

    summary: Summary
    opinions: dict[str, object] | None
    drifts: list[Drift]


def validate(
    dataset: Path, params: Validation, out: Path, reference: Reference | None = None, files: bool = True
) -> None:
    """Check a dataset folder and write the findings to `out`.

    Args:
        dataset: the dataset's folder.
        params: the bounds; `params.reference` is only a name, `reference` is what it names.
        out: the folder to write to; it replaces that of an earlier run once everything is written.
        reference: an earlier version to measure drift from; None skips that check, and the result says so.
        files: whether the video files are opened; if not, the checks that need them are skipped and listed in the
            result.

    Raises:
        CacError: the dataset or its manifest is missing, `out` cannot be written, or, after everything is written, a
            blocking check failed.
    """
    check_replaceable(out)
    with FactsTable() as table, new_folder(out) as folder:
        gathered = _gather(dataset, params, table, reference, files)
        measures = tuple(one.measure for one in gathered.drifts if one.drift is not None)
        checks = list_checks(params, Scope(files, gathered.opinions is not None, measures))
        outcomes = run_checks(table, checks, folder / DOCS_NAME)
        blocked_clips = _write_failures(_findings(outcomes, table), folder / FAILURES_NAME)
        result = {
            "checks": [_report(outcome) for outcome in outcomes],
            "not_checked": [] if files else sorted(FILE_CHECKS),
            "dataset": gathered.summary.to_dict(),
            "drift": _drift_report(reference, gathered.drifts),
            "annotators": gathered.opinions,
        }
        (folder / RESULT_NAME).write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    _raise_if_blocked(outcomes, blocked_clips, out)


def _gather(
    dataset: Path, params: Validation, table: FactsTable, reference: Reference | None, files: bool
) -> _Gathered:
    """Fill the table line by line, then run what needs all lines."""
    summary, profile = Summary(), DatasetProfile()
    for facts in iter_facts(dataset, params.max_side if files else None):
        table.add(facts)
        summary.add(facts.clip)
        if facts.clip is not None and reference is not None:
            profile.add(facts.clip)
    table.compare_lines()
    note_near_duplicates(table, params.near_duplicate_distance)
    opinions = record_agreement(dataset, table, params.min_agreement)
    found = measure_drift(reference.profile, profile) if reference else []
    for one in found:
        if one.drift is not None:
            table.execute("INSERT INTO drift VALUES (?, ?)", one.measure, one.drift)
    table.commit()
    return _Gathered(summary, opinions, found)


def check_replaceable(out: Path) -> None:
    """Check that the findings may replace what `out` holds: nothing, or those of an earlier run.

    Raises:
        CacError: it is a file, or holds something else.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise CacError(f"cannot write to {out}: it is a file. Name a folder.")
    others = sorted(path.name for path in out.iterdir() if path.name not in (RESULT_NAME, FAILURES_NAME, DOCS_NAME))
    if others:
        raise CacError(f"cannot write to {out}: it holds {others[0]}, which no validation wrote. Name a new folder.")


def _findings(outcomes: Iterable[Outcome], table: FactsTable) -> Iterator[dict[str, object]]:
    """Yield the findings of all checks; a finding without a line is about the dataset, not about one clip."""
    for outcome in outcomes:
        check = outcome.check
        common = {"check": check.name, "suite": check.suite, "expected": check.expected}
        if outcome.unexpected_count:
            for line, clip_id, found in failing_rows(table, check):
                line_of_manifest = line if check.table == "clips" else None
                yield {**common, "clip_id": clip_id, "line": line_of_manifest, "found": _plain(found)}
        elif not outcome.passed:
            yield {**common, "clip_id": None, "line": None, "found": _plain(outcome.observed)}


def _plain(value: object) -> object:
    """Return a value that JSON can represent."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


class _BlockedClips:
    """Manifest lines that failed a blocking check: their number, and the names of the first."""

    def __init__(self) -> None:
        self.lines = 0
        self.names: list[str] = []
        self._seen = bytearray()  # a byte a line: with a million of them a set would take fifty times as much

    def add(self, finding: dict[str, object]) -> None:
        """Count a finding."""
        line = finding["line"]
        if finding["suite"] != "blocking" or not isinstance(line, int):
            return
        self._seen.extend(bytes(max(0, line + 1 - len(self._seen))))
        self.lines += not self._seen[line]
        self._seen[line] = 1
        name = str(finding["clip_id"] or f"line {line}")
        if len(self.names) < _NAMED and name not in self.names:
            self.names.append(name)


def _write_failures(findings: Iterable[dict[str, object]], path: Path) -> _BlockedClips:
    """Write the findings, if there are any, and return the clips that failed a blocking check."""
    blocked_clips = _BlockedClips()
    with path.open("w", encoding="utf-8") as file:
        for finding in findings:
            blocked_clips.add(finding)
            file.write(json.dumps(finding, sort_keys=True, allow_nan=False) + "\n")
        empty = file.tell() == 0
    if empty:
        path.unlink()
    return blocked_clips


def _report(outcome: Outcome) -> dict[str, object]:
    check = outcome.check
    return {
        "check": check.name,
        "suite": check.suite,
        "expectation": check.expectation,
        "expected": check.expected,
        "passed": outcome.passed,
        "unexpected_count": outcome.unexpected_count,
        "observed": _plain(outcome.observed),
    }


def _drift_report(reference: Reference | None, found: list[Drift]) -> dict[str, object]:
    if reference is None:
        return {"reference": None, "skipped": _NO_REFERENCE}
    return {"reference": reference.name, "measures": [asdict(one) for one in found]}


def _raise_if_blocked(outcomes: list[Outcome], blocked_clips: _BlockedClips, out: Path) -> None:
    blocked = [outcome for outcome in outcomes if outcome.check.suite == "blocking" and not outcome.passed]
    if not blocked:
        return
    checks = ", ".join(_count(outcome) for outcome in blocked)
    more = (
        f" and {blocked_clips.lines - len(blocked_clips.names)} more"
        if blocked_clips.lines > len(blocked_clips.names)
        else ""
    )
    clips = (
        f" {blocked_clips.lines} clips at fault: {', '.join(blocked_clips.names)}{more}." if blocked_clips.lines else ""
    )
    raise CacError(
        f"the dataset failed {len(blocked)} blocking checks: {checks}.{clips} "
        f"Fix the data; every finding is in {out / FAILURES_NAME}."
    )


def _count(outcome: Outcome) -> str:
    """Return the check's name with how many rows failed it, or with the value it found."""
    if outcome.unexpected_count:
        return f"{outcome.check.name} ({outcome.unexpected_count})"
    return f"{outcome.check.name} (found {outcome.observed:g})" if outcome.observed is not None else outcome.check.name
