"""Output that the verbs share: error messages, JSON files, and tables.

Tables go to stdout as plain text, so that they are readable in a log.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_MIN_WIDTH = 144  # fits the summary, its widest table: a name and six metrics with intervals


def print_error(message: str) -> None:
    """Print an error to stderr as one red paragraph, not wrapped."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text(f"error: {message}", style="red"), soft_wrap=True)


def print_warning(message: str) -> None:
    """Print a warning to stderr as one yellow paragraph, not wrapped."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text(f"warning: {message}", style="yellow"), soft_wrap=True)


def write_json(path: Path, value: Any) -> None:
    """Write a dataclass or pydantic model as sorted JSON, always with the same bytes, and create its folder."""
    from pydantic import TypeAdapter

    from cac.io.aside import write_text

    content = TypeAdapter(type(value)).dump_python(value, by_alias=True)
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def format_number(value: float | None, digits: int = 2) -> str:
    """Return a number with fixed digits, or a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def make_table(first: str, *others: str) -> "Table":
    """Return a table with these columns; the first one folds, the others do not wrap."""
    from rich import box
    from rich.table import Table

    table = Table(first, *others, box=box.SIMPLE_HEAD)
    table.columns[0].overflow = "fold"  # a long path takes several lines instead of squeezing the other columns
    for column in table.columns[1:]:
        column.no_wrap = True
    return table


def wide_console() -> "Console":
    """Return a console for tables, which does not interpret markup or emoji codes in file names and reasons."""
    from rich.console import Console

    console = Console()
    return Console(width=max(console.width, _MIN_WIDTH), markup=False, emoji=False)
