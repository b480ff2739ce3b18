"""What the verbs of `cac data` print as tables: the reports of an import and an injection, and the leak check."""

from typing import TYPE_CHECKING

from cac.cli.console import format_number, make_table, wide_console

if TYPE_CHECKING:
    from cac.data.exchange.report import Report
    from cac.data.injection.leak_check import LeakResult
    from cac.data.injection.report import InjectionReport


def print_import(report: "Report") -> None:
    """Print how many videos and annotations were kept, ignored and refused and why, then the clips of each source."""
    from rich.text import Text

    table = make_table("import", "count", "where")
    table.columns[1].justify = "right"
    for what, count, where in report.rows():
        table.add_row(Text(what), str(count), Text(where))
    sources = make_table("source", "read", "kept clean", "kept anomalous", "refused", "why")
    for name, *counts, why in report.source_rows():
        sources.add_row(Text(name), *map(str, counts), Text(why))
    for one in (table, sources):
        one.columns[-1].no_wrap, one.columns[-1].overflow = False, "fold"
        wide_console().print(one)


def print_injection(report: "InjectionReport") -> None:
    """Print the result for each file of an injection."""
    from cac.data.injection.report import report_rows

    table = make_table("file", "status", "segments", "pairs", "refused", "remarks")
    table.columns[-1].no_wrap, table.columns[-1].overflow = False, "fold"
    for row in report_rows(report):
        table.add_row(*row)
    wide_console().print(table)
    for note in report.notes:
        print(f"note: {note}")


def print_leaks(result: "LeakResult") -> None:
    """Print how well traces alone tell the twins apart, leaf by leaf and as a whole, and whether the bar is kept."""
    from cac.data.injection.leak_check import MAX_AUROC

    table = make_table("leaf", "AUROC")
    for leaf, value in result.by_leaf.items():
        table.add_row(leaf, format_number(value))
    wide_console().print(table)
    print("most telling by themselves: " + ", ".join(f"{name} {value:.2f}" for name, value in result.telling.items()))
    outcome = "is kept" if result.passed else "is MISSED: traces give the defects away"
    print(f"AUROC {result.auroc:.3f} [{result.low:.3f}, {result.high:.3f}], {result.classifier}, {result.pairs} pairs")
    print(f"the bar of {MAX_AUROC} {outcome}")
