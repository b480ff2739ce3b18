"""What `cac score` prints: a table, or one JSON object per line."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cac.cli.console import make_table, print_error, wide_console

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
    for result in results:
        if isinstance(result, Failed):
            print_error(result.message)


def _score_table(scored: Sequence["Scored"]) -> "Table":
    table = make_table("video", "score", "verdict", "windows", "family", "leaf")
    for one in scored:
        windows = ", ".join(f"{start:.1f}–{end:.1f} s" for start, end in one.windows)
        family, leaf = one.judgement.family, one.judgement.leaf
        verdict = one.judgement.verdict if one.judgement.parsed else "none (the answer broke the grammar)"
        table.add_row(str(one.path), f"{one.score:.3f}", verdict, windows or "–", family or "–", leaf or "–")
    return table
