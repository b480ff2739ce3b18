"""Data validation: is this dataset fit to train on?

Reads the manifest line by line, holds every clip against its file, asserts the checks of `data/checks.py` and writes
what came of it: `result.json` (every check, and the dataset in numbers), `failures.jsonl` (one finding a line, only if
there are any) and Great Expectations' Data Docs in `data_docs/`. The same dataset gives the same bytes. Left out on
purpose: repairing anything, and looking at what the frames show.
"""

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import get_args

from cac.annotations import Clip, Split
from cac.data.checks import Outcome, run_checks
from cac.data.clip_facts import ClipFacts, gather_facts
from cac.errors import CacError
from cac.params import Validation
from cac.taxonomy import LEAVES, Family

RESULT_NAME = "result.json"
FAILURES_NAME = "failures.jsonl"
DOCS_NAME = "data_docs"

_NAMED = 5


def validate(dataset: Path, params: Validation, out: Path) -> None:
    """Check a dataset folder and write the findings to `out`.

    Raises:
        CacError: the dataset or its manifest is missing, `out` cannot be written, or, after everything is written, a
            blocking check failed.
    """
    _prepare(out)
    facts = gather_facts(dataset)
    outcomes = run_checks([one.row() for one in facts], params, out / DOCS_NAME)
    failures = [failure for outcome in outcomes for failure in _failures(outcome, facts)]
    if failures:
        lines = (json.dumps(failure, sort_keys=True) + "\n" for failure in failures)
        (out / FAILURES_NAME).write_text("".join(lines), encoding="utf-8")
    result = {"checks": [_report(outcome) for outcome in outcomes], "dataset": summarise(facts)}
    (out / RESULT_NAME).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    _raise_if_blocked(outcomes, failures, out)


def summarise(facts: list[ClipFacts]) -> dict[str, object]:
    """Return the dataset in numbers: clips, splits, families, leaves and durations in seconds.

    A clip counts once for each family and leaf it shows.
    """
    clips = [one.clip for one in facts if one.clip]
    families = Counter(family for clip in clips for family in {a.family for a in clip.anomalies})
    leaves = Counter(leaf for clip in clips for leaf in {a.leaf for a in clip.anomalies})
    return {
        "clips": len(clips),
        "invalid_lines": len(facts) - len(clips),
        "splits": {split: _split_numbers([c for c in clips if c.split == split]) for split in get_args(Split)},
        "families": {family.value: families[family] for family in Family},
        "leaves": {leaf: leaves[leaf] for leaf in LEAVES},
        "durations": _durations(clips),
    }


def _prepare(out: Path) -> None:
    """Make the folder and clear what an earlier run wrote, so that no old finding is taken for a new one."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK):
            raise PermissionError(None, "permission denied")
        (out / FAILURES_NAME).unlink(missing_ok=True)
        (out / RESULT_NAME).unlink(missing_ok=True)
        if (out / DOCS_NAME).exists():
            shutil.rmtree(out / DOCS_NAME)
    except OSError as error:
        raise CacError(f"cannot write to {out}: {error.strerror}. Name a folder you may write to.") from error


def _failures(outcome: Outcome, facts: list[ClipFacts]) -> list[dict[str, object]]:
    """Return the findings of one check; one without a line is about the dataset as a whole."""
    check = outcome.check
    common = {"check": check.name, "suite": check.suite, "expected": check.expected}
    if not outcome.passed and not outcome.failing:
        return [{**common, "clip_id": None, "line": None, "found": outcome.observed}]
    # Manifest lines count from 1.
    return [
        {**common, "clip_id": facts[line - 1].clip_id, "line": line, "found": found}
        for line, found in outcome.failing.items()
    ]


def _report(outcome: Outcome) -> dict[str, object]:
    check = outcome.check
    return {
        "check": check.name,
        "suite": check.suite,
        "expectation": check.expectation,
        "expected": check.expected,
        "passed": outcome.passed,
        "unexpected_count": len(outcome.failing),
        "observed": outcome.observed,
    }


def _split_numbers(clips: list[Clip]) -> dict[str, int]:
    clean = sum(clip.is_clean for clip in clips)
    return {"clips": len(clips), "clean": clean, "anomalous": len(clips) - clean}


def _durations(clips: list[Clip]) -> dict[str, float] | None:
    if not clips:
        return None
    durations = [clip.duration for clip in clips]
    shortest, longest, total = min(durations), max(durations), sum(durations)
    values = {"shortest": shortest, "mean": total / len(clips), "longest": longest, "total": total}
    return {name: round(value, 6) for name, value in values.items()}


def _raise_if_blocked(outcomes: list[Outcome], failures: list[dict[str, object]], out: Path) -> None:
    blocked = [outcome for outcome in outcomes if outcome.check.suite == "blocking" and not outcome.passed]
    if not blocked:
        return
    at_fault = [failure for failure in failures if failure["suite"] == "blocking" and failure["line"]]
    names = list(dict.fromkeys(str(failure["clip_id"] or f"line {failure['line']}") for failure in at_fault))
    checks = ", ".join(_count(outcome) for outcome in blocked)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    clips = f" {len(names)} clips at fault: {', '.join(names[:_NAMED])}{more}." if names else ""
    raise CacError(
        f"the dataset failed {len(blocked)} blocking checks: {checks}.{clips} "
        f"Mend the data; every finding is in {out / FAILURES_NAME}."
    )


def _count(outcome: Outcome) -> str:
    """Return the check with how many clips failed it, or with the value it found in the dataset."""
    if outcome.failing:
        return f"{outcome.check.name} ({len(outcome.failing)})"
    return f"{outcome.check.name} (found {outcome.observed:g})" if outcome.observed is not None else outcome.check.name
