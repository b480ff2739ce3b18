"""The verbs of dataset versions, `cac data merge | split | stats | diff`: their arguments and output.

`main.py` imports this module for every verb, so everything else is imported inside the verbs.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cac.cli.options import add_overwrite_option, add_ratio_options
from cac.errors import CacError

if TYPE_CHECKING:
    from rich.table import Table

    from cac.data.versions.diff import Change, ClipChange, ListedClip, VersionDiff
    from cac.data.versions.groups import SplitRatios
    from cac.data.versions.split import SplitReport

# (name, what it runs, its help) → its parser
AddVerb = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]

_SHOWN = 20  # clips of a kind that a table names
_MOST_WINDOWS = 3


def add_version_verbs(add: AddVerb) -> None:
    """Add the verbs with their arguments."""
    merge = add("merge", _merge, "make one dataset of several")
    merge.add_argument("first", type=Path, metavar="DATASET")
    merge.add_argument("others", type=Path, nargs="+", metavar="DATASET")
    merge.add_argument("--out", type=Path, required=True, metavar="DIR", help="may be one of the datasets")
    add_overwrite_option(merge)
    add_ratio_options(merge, "split all clips again; give both or neither")
    split = add("split", _split, "assign every group of clips the split that follows from its name")
    split.add_argument("dataset", type=Path, metavar="DATASET")
    add_ratio_options(split, "ratio of the groups", required=True)
    split.add_argument("--out", type=Path, metavar="DIR", help="a new dataset (default: split in place)")
    add_overwrite_option(split)
    stats = add("stats", _stats, "count a dataset, as JSON and as a picture")
    stats.add_argument("dataset", type=Path, metavar="DATASET")
    stats.add_argument("--out", type=Path, required=True, metavar="DIR")
    diff = add("diff", _diff, "show what changed from one version of a dataset to another")
    diff.add_argument("before", metavar="A", help="a dataset folder, or else a git revision of --data")
    diff.add_argument("after", metavar="B", help="as A")
    diff.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="default: data")
    diff.add_argument("--json", action="store_true", help="print everything as one JSON object")


def _ratios(args: argparse.Namespace) -> "SplitRatios | None":
    from cac.data.versions.groups import SplitRatios

    if args.val_ratio is None and args.test_ratio is None:
        return None
    if args.val_ratio is None or args.test_ratio is None:
        raise CacError("--val-ratio and --test-ratio go together. Give both, or neither to keep the splits.")
    return SplitRatios(args.val_ratio, args.test_ratio)


def _merge(args: argparse.Namespace) -> int:
    from rich.text import Text

    from cac.data.versions.merge import REPORT_NAME, merge_datasets

    report = merge_datasets([args.first, *args.others], args.out, _ratios(args), overwrite=args.overwrite)
    table = _table("dataset", "clips", "kept", "duplicates")
    for one in report.sources:
        table.add_row(Text(one.source), str(one.received), str(one.kept), str(one.duplicates))
    _print(table)
    if report.joined_pairs:
        print(f"{len(report.joined_pairs)} pairs share a clip with another pair and were joined with it")
    kept = sum(one.kept for one in report.sources)
    print(f"wrote {args.out} with {kept} clips; the report is {args.out / REPORT_NAME}. "
          f"Next: cac data validate --data {args.out}")  # fmt: skip
    return 0


def _split(args: argparse.Namespace) -> int:
    from cac.data.versions.split import split_dataset

    ratios = _ratios(args)
    if ratios is None:
        raise TypeError("the parser requires ratios")
    report = split_dataset(args.dataset, ratios, args.out, overwrite=args.overwrite)
    _print(_split_table(report))
    moved = ", ".join(f"{count} from {a} to {b}" for (a, b), count in report.moved.items())
    print(f"wrote {args.out or args.dataset}; clips that moved: {moved or 'none'}")
    return 0


def _split_table(report: "SplitReport") -> "Table":
    table = _table("split", "clips before", "clips now", "groups now", "ratio of groups")
    total = sum(report.groups.values())
    for split in sorted(report.before.keys() | report.after.keys()):
        groups = report.groups.get(split, 0)
        counts = (report.before.get(split, 0), report.after.get(split, 0), groups)
        table.add_row(split, *map(str, counts), f"{groups / total:.3f}")
    return table


def _stats(args: argparse.Namespace) -> int:
    from cac.cli.outputs import check_place
    from cac.data.versions.stats import PICTURE_NAME, STATS_NAME
    from cac.data.versions.stats_report import write_stats

    check_place("--out", args.out / STATS_NAME)
    stats = write_stats(args.dataset, args.out)
    print(f"{stats.clips} clips in {stats.groups} groups; wrote {args.out / STATS_NAME} and {args.out / PICTURE_NAME}")
    return 0


def _diff(args: argparse.Namespace) -> int:
    from cac.data.versions.diff import diff_versions
    from cac.data.versions.revisions import read_version

    found = diff_versions(read_version(args.before, args.data), read_version(args.after, args.data))
    if args.json:
        print(json.dumps(found.to_dict(), indent=2, sort_keys=True))
    else:
        _print_comparison(found)
    return 0


def _print_comparison(found: "VersionDiff") -> None:
    from cac.data.versions.diff import count_changes

    counts = {kind: len(getattr(found, kind)) for kind in ("added", "removed", "replaced", "relabelled")}
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    print(f"from {found.before} to {found.after}: {said}, {found.unchanged} unchanged")
    table = _table("clip", "change", "what")
    table.columns[2].no_wrap, table.columns[2].overflow = False, "fold"
    _add_rows(table, "added", [(one.clip_id, _describe_listed(one)) for one in found.added])
    _add_rows(table, "removed", [(one.clip_id, _describe_listed(one)) for one in found.removed])
    _add_rows(table, "replaced", [(one.clip_id, _describe_changes(one)) for one in found.replaced])
    _add_rows(table, "relabelled", [(one.clip_id, _describe_changes(one)) for one in found.relabelled])
    if table.row_count:
        _print(table)
    counted = count_changes([*found.replaced, *found.relabelled])
    if counted:
        print("clips by what changed: " + ", ".join(f"{name} {count}" for name, count in counted.items()))


def _add_rows(table: "Table", change: str, rows: Sequence[tuple[str, str]]) -> None:
    from rich.text import Text

    for clip_id, what in rows[:_SHOWN]:
        table.add_row(Text(clip_id), change, Text(what))
    if len(rows) > _SHOWN:
        table.add_row(f"and {len(rows) - _SHOWN} more", change, "--json lists all")


def _describe_listed(one: "ListedClip") -> str:
    return f"{one.split}, {', '.join(one.leaves) or 'clean'}"


def _describe_changes(one: "ClipChange") -> str:
    return "; ".join(_describe(name, change) for name, change in one.changes.items())


def _describe(name: str, change: "Change") -> str:
    """Return one change in words; long values are only counted, `--json` has all."""
    before, after = change.before, change.after
    if name == "boxes" and isinstance(after, dict):
        return f"boxes of {len(after)} frames"
    if name == "windows":
        return f"windows {_windows(before)} → {_windows(after)}"
    if name in ("anomalies", "sha256"):
        return {"anomalies": "anomalies combined differently", "sha256": "another file"}[name]
    return f"{name} {_text(before)} → {_text(after)}"


def _windows(windows: Any) -> str:
    shown = ", ".join(f"{start:g}–{end:g} s" for start, end in windows[:_MOST_WINDOWS])
    return (shown or "none") + (", …" if len(windows) > _MOST_WINDOWS else "")


def _text(value: object) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _table(first: str, *others: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(first, box=box.SIMPLE_HEAD)
    table.columns[0].overflow = "fold"
    for title in others:
        table.add_column(title, no_wrap=True)
    return table


def _print(table: "Table") -> None:
    from rich.console import Console

    Console().print(table)
