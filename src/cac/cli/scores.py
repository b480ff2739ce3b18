"""What `cac score` prints: a table, or one JSON object per line."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cac.cli.console import make_table, print_error, print_warning, wide_console

if TYPE_CHECKING:
    from rich.table import Table

    from cac.batch.score_files import Failed, Scored


def print_scores(results: Sequence["Scored | Failed"], as_json: bool) -> None:
    """Print the judgement of each video: a table, or one JSON object per line. Errors go to stderr as well."""
    from cac.batch.score_files import Failed, Scored

    if as_json:
        for result in results:
            print(json.dumps(result.to_dict(), sort_keys=True))
    elif scored := [result for result in results if isinstance(result, Scored)]:
        wide_console().print(_score_table(scored))
        _print_source(scored)
    for result in results:
        if isinstance(result, Failed):
            print_error(result.message)


def _print_source(scored: Sequence["Scored"]) -> None:
    """Print which model scored, how the verdict follows from the score, and every warning with its videos."""
    threshold = scored[0].threshold
    rule = "as the model wrote it" if threshold is None else f"clean from a score of {threshold:.3f}"
    print(f"verdict: {rule}. Model: {scored[0].model}")
    videos: dict[str, list[str]] = {}
    for one in scored:
        for warning in one.judgement.warnings:
            videos.setdefault(warning, []).append(str(one.path))
    for warning, names in videos.items():
        where = "" if len(names) == len(scored) else f" ({', '.join(names)})"
        print_warning(f"{warning}{where}")


def _score_table(scored: Sequence["Scored"]) -> "Table":
    table = make_table("video", "score", "verdict", "windows", "family", "leaf")
    for one in scored:
        windows = ", ".join(f"{start:.1f}–{end:.1f} s" for start, end in one.windows)
        family, leaf = one.judgement.family, one.judgement.leaf
        verdict = one.judgement.verdict if one.judgement.parsed else "none (the answer broke the grammar)"
        table.add_row(str(one.path), f"{one.score:.3f}", verdict, windows or "–", family or "–", leaf or "–")
    return table
