"""Options that several verbs share, and an error for options with an old name."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

_RATIO_OPTIONS = {"--val-ratio": "--val-share", "--test-ratio": "--test-share"}  # name: its name before 0.2


class RenamedOption(argparse.Action):
    """An option under its old name: giving it is an error that names the new one. `--help` does not list it.

    argparse runs actions before it checks for missing options, so a missing required option cannot mask this error.
    """

    def __init__(self, option_strings: Sequence[str], dest: str, new_name: str) -> None:
        """`new_name` is the option to use instead, such as `--val-ratio`."""
        super().__init__(
            option_strings, dest=argparse.SUPPRESS, default=argparse.SUPPRESS, nargs="?", help=argparse.SUPPRESS
        )
        self.new_name = new_name

    def __call__(
        self, parser: argparse.ArgumentParser, _namespace: object, _values: object, option_string: str | None = None
    ) -> NoReturn:
        """Exit with code 2 and the new name."""
        parser.error(f"{option_string} was renamed. Use {self.new_name} instead.")


def add_overwrite_option(parser: argparse.ArgumentParser) -> None:
    """Add `--overwrite`, without which a dataset at `--out` is an error."""
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset at --out, if there is one")


def add_ratio_options(
    parser: argparse.ArgumentParser,
    summary: str,
    *,
    defaults: tuple[float, float] | None = None,
    required: bool = False,
) -> None:
    """Add `--val-ratio` and `--test-ratio`, with `defaults` (val, test) in their help if there are any."""
    for (name, old_name), default in zip(_RATIO_OPTIONS.items(), defaults or (None, None), strict=True):
        text = summary if default is None else f"{summary} (default: {default})"
        parser.add_argument(name, type=float, default=default, required=required, metavar="X", help=text)
        parser.add_argument(old_name, action=RenamedOption, new_name=name)
