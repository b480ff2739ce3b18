"""What the registry's verbs print: the gate's decision, the list of versions, the comparison of a reproduction."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from cac.cli.console import format_number, make_table, wide_console

if TYPE_CHECKING:
    from rich.table import Table

    from cac.registry.gate import Decision
    from cac.registry.listing import VersionSummary
    from cac.registry.reproduction import HashComparison

_HASH = 16  # characters of a hash, enough to distinguish any two


def print_decision(decision: "Decision") -> None:
    """Print every check of the gate, and its decision."""
    table = make_table("check", "value", "", "bound", "passed")
    for check in decision.checks:
        passed = "yes" if check.passed else "NO"
        table.add_row(check.name, format_number(check.value, 3), check.note, format_number(check.bound, 3), passed)
    table.columns[2].no_wrap = False  # a note may be a person's reason
    wide_console().print(table)
    unchanged = "" if decision.passed else "; the champion is unchanged"
    print(f"{decision.model_name} version {decision.version} {decision.outcome}{unchanged}")


def print_versions(versions: Sequence["VersionSummary"], as_json: bool) -> None:
    """Print the registered versions: a table, or one JSON object per line."""
    if as_json:
        for version in versions:
            print(json.dumps(asdict(version), sort_keys=True))
    elif versions:
        wide_console().print(_version_table(versions))
    else:
        print("no version is registered yet: run `cac register`")


def _version_table(versions: Sequence["VersionSummary"]) -> "Table":
    from cac.registry.gate import GATE_METRICS

    columns = [metric.column for metric in GATE_METRICS.values()]
    table = make_table("version", "aliases", "gate", *columns, "to champion", "to best", "code", "data")
    for one in versions:
        state = one.gate or ("–" if one.registration == "complete" else one.registration)
        gate = "rolled back" if one.rolled_back else state
        numbers = (format_number(one.metrics[name]) for name in GATE_METRICS)
        code = one.git_commit[:8] + ("+" if one.git_dirty == "true" else "")  # + uncommitted changes
        differences = (format_number(one.difference_to_champion), format_number(one.difference_to_best))
        table.add_row(one.version, ", ".join(one.aliases) or "–", gate, *numbers, *differences, code, one.data_md5[:8])
    return table


def print_reproduction(result: Sequence["HashComparison"]) -> None:
    """Print, stage by stage, the hash that is recorded, the new one, and whether they are the same."""
    table = make_table("stage", "what", "recorded", "now", "same")
    for one in result:
        same = "yes" if one.same else "NO" if one.counts else "no, which need not matter"
        table.add_row(one.stage, one.what, one.recorded[:_HASH], one.now[:_HASH], same)
    wide_console().print(table)
