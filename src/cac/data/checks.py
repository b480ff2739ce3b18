"""The data checks as Great Expectations suites: what is asserted on the facts, and running it.

Two suites on one table of clips: a failure in `blocking` stops the pipeline, one in `warning` is only reported. Context
and suites live in memory and are built from this code on each run; only built-in expectations are used, on columns that
`data/clip_facts.py` computes. Left out: computing facts, and what becomes of the outcomes (`data/validation.py`).
"""

import html
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from cac.annotations import REQUIRED_SPLITS, Split
from cac.data.clip_facts import EXPECTED
from cac.params import Validation
from cac.taxonomy import Family

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.data_context import AbstractDataContext
    from great_expectations.expectations.expectation import Expectation

Suite = Literal["blocking", "warning"]
WARNINGS = ("pair",)  # of the checks on each clip: clips of the world have no twin
Row = dict[str, Any]

# Fixed, so that the same data gives the same pages: a DVC output must not hold the time it was made.
_RUN_NAME, _RUN_TIME = "validate", datetime(2000, 1, 1, tzinfo=UTC)
_NUMBERS = ("duration", "clean", *(family.value for family in Family))


@dataclass(frozen=True)
class Check:
    """One assertion: `expectation` with `arguments` on `column`, of one split's clips or of all.

    `expected` says in words what is asserted.
    """

    name: str
    suite: Suite
    expected: str
    expectation: str
    column: str | None
    arguments: dict[str, float] = field(default_factory=dict)
    split: Split | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a check. `failing` maps the manifest lines at fault to what was found there.

    `observed` is the value measured by a check on the dataset as a whole; None for a check on each clip.
    """

    check: Check
    passed: bool
    failing: dict[int, object]
    observed: float | None


def list_checks(params: Validation) -> list[Check]:
    """Return all checks in the order they are reported."""
    blocking = [
        Check(name, "blocking", expected, "ExpectColumnValuesToBeNull", f"{name}_problem")
        for name, expected in EXPECTED.items()
        if name not in WARNINGS
    ]
    blocking += [
        Check("clip_id", "blocking", "a clip_id of its own", "ExpectColumnValuesToBeUnique", "clip_id"),
        Check("unique_path", "blocking", "a path of its own", "ExpectColumnValuesToBeUnique", "path"),
        _duration_check(params.max_duration),
        *(_split_size_check(split, params.min_clips_per_split) for split in REQUIRED_SPLITS),
    ]
    warning = [
        *(Check(name, "warning", EXPECTED[name], "ExpectColumnValuesToBeNull", f"{name}_problem") for name in WARNINGS),
        Check("file_duplicate", "warning", "content no other clip has", "ExpectColumnValuesToBeUnique", "file_sha256"),
        *(_clean_share_check(split, params.min_clean_share, params.max_clean_share) for split in REQUIRED_SPLITS),
        *(_family_check(family, params.min_clips_per_family) for family in Family),
    ]
    return blocking + warning


def _duration_check(most: float) -> Check:
    expected = f"at most {most:g} s"
    return Check("duration", "blocking", expected, "ExpectColumnValuesToBeBetween", "duration", {"max_value": most})


def _split_size_check(split: Split, least: int) -> Check:
    name, expected = f"clips_in_{split}", f"at least {least} clips in {split}"
    return Check(name, "blocking", expected, "ExpectTableRowCountToBeBetween", None, {"min_value": least}, split)


def _clean_share_check(split: Split, least: float, most: float) -> Check:
    name, expected = f"clean_share_in_{split}", f"a share of clean clips from {least:g} to {most:g} in {split}"
    bounds = {"min_value": least, "max_value": most}
    return Check(name, "warning", expected, "ExpectColumnMeanToBeBetween", "clean", bounds, split)


def _family_check(family: Family, least: int) -> Check:
    name, expected = f"clips_of_{family}", f"at least {least} clips with {family}"
    return Check(name, "warning", expected, "ExpectColumnSumToBeBetween", family.value, {"min_value": least})


def run_checks(rows: list[Row], params: Validation, docs: Path) -> list[Outcome]:
    """Assert all checks and write the Data Docs site.

    Args:
        rows: one row a manifest line, as `ClipFacts.row` gives them; at least one.
        params: the bounds.
        docs: folder the site is written to; made if missing.
    """
    context = _context(docs)
    asset = context.data_sources.add_pandas("dataset").add_dataframe_asset("clips")
    table = asset.add_batch_definition_whole_dataframe("manifest")
    frame, by_line = _frame(rows), {row["line"]: row for row in rows}
    outcomes = []
    for suite in get_args(Suite):
        checks = [check for check in list_checks(params) if check.suite == suite]
        results = _run_suite(context, table, checks, frame)
        outcomes += [_outcome(check, results[check.name], by_line) for check in checks]
    context.build_data_docs()
    return outcomes


def _context(docs: Path) -> "AbstractDataContext":
    """Return a context in memory that sends nothing home, shows no progress bars and has one site."""
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    from cac.data.data_docs import site_config

    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(project_config=config, mode="ephemeral")
    context.add_data_docs_site("data_docs", site_config(str(docs.resolve())))
    return context


def _frame(rows: list[Row]) -> "pd.DataFrame":
    """Return the rows as a table. Text is escaped: Data Docs write the values they show into HTML as they are."""
    import pandas as pd

    escaped = [
        {name: html.escape(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows
    ]
    return pd.DataFrame(escaped, dtype=object).astype(dict.fromkeys(_NUMBERS, float))


def _run_suite(
    context: "AbstractDataContext", table: "BatchDefinition", checks: list[Check], frame: "pd.DataFrame"
) -> dict[str, "ExpectationValidationResult"]:
    """Run one suite; return the results by the name of the check."""
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier

    name = checks[0].suite
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=[_expectation(check) for check in checks]))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=table, suite=suite))
    result = definition.run(
        batch_parameters={"dataframe": frame},
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["line"]},
        run_id=RunIdentifier(run_name=_RUN_NAME, run_time=_RUN_TIME),
    )
    return {config.meta["check"]: one for one in result.results if (config := one.expectation_config)}


def _expectation(check: Check) -> "Expectation":
    import great_expectations as gx
    from great_expectations.expectations.row_conditions import Column

    where: dict[str, Any] = {"column": check.column} if check.column else {}
    if check.split:
        where["row_condition"] = Column("split") == check.split
    description = f"{check.name}: {check.expected}"
    kind = getattr(gx.expectations, check.expectation)
    return kind(**where, **check.arguments, description=description, meta={"check": check.name})


def _outcome(check: Check, result: "ExpectationValidationResult", rows: dict[int, Row]) -> Outcome:
    details = result.result
    lines = [int(entry["line"]) for entry in details.get("unexpected_index_list") or []]
    observed = details.get("observed_value")
    if not result.success and not lines and "observed_value" not in details:
        raise RuntimeError(f"check {check.name} could not be evaluated: {result.exception_info}")
    failing = {line: rows[line][check.column] for line in lines if check.column}
    return Outcome(check, bool(result.success), failing, None if observed is None else round(float(observed), 6))
