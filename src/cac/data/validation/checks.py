"""The data checks as Great Expectations suites: what is asserted on the facts, and running it.

A failure in the suite `blocking` stops the pipeline; one in `warning` is only reported. Context and suites live in
memory and are built by this code on each run. Only built-in expectations are used, on the columns of `facts_table.py`,
in SQL, so that any number of clips can be checked. Out of scope: computing facts, and acting on the outcomes
(`validate.py`).
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from cac.data.validation.clip_facts import EXPECTED, FILE_CHECKS
from cac.data.validation.facts_table import FactsTable
from cac.params import Validation
from cac.schema.annotations import REQUIRED_SPLITS, Split
from cac.schema.taxonomy import Family

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.data_context.data_context.abstract_data_context import AbstractDataContext
    from great_expectations.expectations.expectation import Expectation

Suite = Literal["blocking", "warning"]
Table = Literal["clips", "opinions", "drift"]
# Of the checks on each clip: recorded clips have no twin, similar clips may differ, and annotators may disagree.
WARNINGS = ("pair", "mp4", "near_duplicate", "annotators")

# Fixed, so that the same data gives the same pages: a DVC output must not hold the time it was made.
_RUN_NAME, _RUN_TIME = "validate", datetime(2000, 1, 1, tzinfo=UTC)

# Expectation on each row → the rows that fail it, in SQL; `run_checks` holds it against what the expectation counted.
_FAILING = {
    "ExpectColumnValuesToBeNull": "{column} IS NOT NULL",
    "ExpectColumnValuesToBeUnique": "{column} IN (SELECT {column} FROM {table} WHERE {column} IS NOT NULL "
    "GROUP BY {column} HAVING COUNT(*) > 1)",
    "ExpectColumnValuesToBeBetween": "{column} > {max_value!r}",
}


@dataclass(frozen=True)
class Check:
    """One assertion: `expectation` with `arguments` on `column` of `table`, in all rows or those `where` selects.

    `expected` describes the assertion in words.
    """

    name: str
    suite: Suite
    expected: str
    expectation: str
    column: str | None
    arguments: dict[str, float] = field(default_factory=dict)
    where: tuple[str, str] | None = None  # (column, value)
    table: Table = "clips"


@dataclass(frozen=True)
class Outcome:
    """The result of a check: how many rows failed it, or the value that a check on the whole dataset measured."""

    check: Check
    passed: bool
    unexpected_count: int
    observed: float | None


@dataclass(frozen=True)
class Scope:
    """What can be checked: whether video files and opinions are, and which measures drift is known of."""

    files: bool = True
    opinions: bool = False
    measures: tuple[str, ...] = ()


def list_checks(params: Validation, scope: Scope) -> list[Check]:
    """Return the checks of this scope, in the order they are reported."""
    of_clips = {suite: [] for suite in get_args(Suite)}  # type: dict[str, list[Check]]
    for name, expected in EXPECTED.items():
        if (scope.files or name not in FILE_CHECKS) and (scope.opinions or name != "annotators"):
            suite: Suite = "warning" if name in WARNINGS else "blocking"
            of_clips[suite].append(Check(name, suite, expected, "ExpectColumnValuesToBeNull", f"{name}_problem"))
    return [
        *of_clips["blocking"],
        Check("clip_id", "blocking", "a clip_id of its own", "ExpectColumnValuesToBeUnique", "clip_id"),
        Check("unique_path", "blocking", "a path of its own", "ExpectColumnValuesToBeUnique", "path"),
        _duration_check(params.max_duration),
        *(_split_size_check(split, params.min_clips_per_split) for split in REQUIRED_SPLITS),
        *([_OPINION] if scope.opinions else []),
        *of_clips["warning"],
        Check("file_duplicate", "warning", "content no other clip has", "ExpectColumnValuesToBeUnique", "file_sha256"),
        *(_clean_share_check(split, params.min_clean_ratio, params.max_clean_ratio) for split in REQUIRED_SPLITS),
        *(_family_check(family, params.min_clips_per_family) for family in Family),
        *(_drift_check(measure, params.max_drift) for measure in scope.measures),
    ]


_OPINION = Check("opinion", "blocking", "one valid opinion a line, each annotator's first on a clip of the dataset",
                 "ExpectColumnValuesToBeNull", "opinion_problem", table="opinions")  # fmt: skip


def _duration_check(most: float) -> Check:
    expected = f"at most {most:g} s"
    return Check("duration", "blocking", expected, "ExpectColumnValuesToBeBetween", "duration", {"max_value": most})


def _split_size_check(split: Split, least: int) -> Check:
    name, expected = f"clips_in_{split}", f"at least {least} clips in {split}"
    return Check(
        name, "blocking", expected, "ExpectTableRowCountToBeBetween", None, {"min_value": least}, ("split", split)
    )


def _clean_share_check(split: Split, least: float, most: float) -> Check:
    name, expected = f"clean_share_in_{split}", f"a share of clean clips from {least:g} to {most:g} in {split}"
    bounds = {"min_value": least, "max_value": most}
    return Check(name, "warning", expected, "ExpectColumnMeanToBeBetween", "clean", bounds, ("split", split))


def _family_check(family: Family, least: int) -> Check:
    name, expected = f"clips_of_{family}", f"at least {least} clips with {family}"
    return Check(name, "warning", expected, "ExpectColumnSumToBeBetween", family.value, {"min_value": least})


def _drift_check(measure: str, most: float) -> Check:
    name, expected = f"drift_of_{measure}", f"at most {most:g} of the data elsewhere than in the reference"
    where, bounds = ("measure", measure), {"max_value": most}
    return Check(name, "warning", expected, "ExpectColumnMaxToBeBetween", "drift", bounds, where, "drift")


def run_checks(table: FactsTable, checks: Sequence[Check], docs: Path) -> list[Outcome]:
    """Assert checks on the table's facts, of which there is at least one, and write the Data Docs site.

    Args:
        table: the facts; all of it must be committed.
        checks: those of `list_checks`.
        docs: folder the site is written to; made if missing.
    """
    context = _context(docs)
    source = context.data_sources.add_sqlite("dataset", connection_string=f"sqlite:///{table.path}")
    results: dict[str, ExpectationValidationResult] = {}
    for name in get_args(Table):
        batch = source.add_table_asset(name, table_name=name).add_batch_definition_whole_table("all")
        for suite in get_args(Suite):
            here = [check for check in checks if (check.table, check.suite) == (name, suite)]
            if here:
                results |= _run_suite(context, batch, suite if name == "clips" else f"{suite}_{name}", here)
    context.build_data_docs()
    return [_outcome(check, results[check.name], table) for check in checks]


def failing_rows(table: FactsTable, check: Check) -> Iterator[tuple[int, str | None, object]]:
    """Yield (line, clip_id, found) of the rows that fail a check on each row, in their order."""
    query = f"SELECT line, clip_id, {check.column} FROM {check.table} WHERE {_condition(check)} ORDER BY line"
    yield from table.select(query)


def _condition(check: Check) -> str:
    return _FAILING[check.expectation].format(column=check.column, table=check.table, **check.arguments)


def _context(docs: Path) -> "AbstractDataContext":
    """Return a context in memory without telemetry and progress bars, and with one site."""
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    from cac.data.validation.data_docs import site_config

    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(project_config=config, mode="ephemeral")
    context.add_data_docs_site("data_docs", site_config(str(docs.resolve())))
    return context


def _run_suite(
    context: "AbstractDataContext", batch: "BatchDefinition[Any]", name: str, checks: list[Check]
) -> dict[str, "ExpectationValidationResult"]:
    """Run one suite; return the results by the name of the check."""
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier

    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=[_expectation(check) for check in checks]))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    # A summary has only the first failing rows; all of them are read from the table, one at a time.
    result = definition.run(result_format="SUMMARY", run_id=RunIdentifier(run_name=_RUN_NAME, run_time=_RUN_TIME))
    return {config.meta["check"]: one for one in result.results if (config := one.expectation_config)}


def _expectation(check: Check) -> "Expectation":
    import great_expectations as gx
    from great_expectations.expectations.row_conditions import Column

    where: dict[str, Any] = {"column": check.column} if check.column else {}
    if check.where:
        column, value = check.where
        where["row_condition"] = Column(column) == value
    description = f"{check.name}: {check.expected}"
    kind = getattr(gx.expectations, check.expectation)
    expectation: Expectation = kind(**where, **check.arguments, description=description, meta={"check": check.name})
    return expectation


def _outcome(check: Check, result: "ExpectationValidationResult", table: FactsTable) -> Outcome:
    details, count = result.result, 0
    if check.expectation in _FAILING:
        [(count,)] = table.select(f"SELECT COUNT(*) FROM {check.table} WHERE {_condition(check)}")
        evaluated = details.get("unexpected_count") == count
    else:
        evaluated = result.success or "observed_value" in details
    if not evaluated:
        raise RuntimeError(f"check {check.name} could not be evaluated: {details} {result.exception_info}")
    observed = details.get("observed_value")
    return Outcome(check, bool(result.success), count, None if observed is None else round(float(observed), 6))
