"""Checks commands of the docs against the real parsers, the Makefile and the modules of the repository."""

import argparse
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

from helpers.markdown import Command

from cac.cli.flow_arguments import parse_flow_arguments
from cac.cli.main import build_parser

ROOT = Path(__file__).parents[2]


@cache
def cac_parser() -> argparse.ArgumentParser:
    """Return the parser of `cac`, built once."""
    return build_parser()


def find_problem(command: Command, whole: bool) -> str | None:
    """Return what is wrong with a command of this project; None for others."""
    program, *words = command.words
    if program == "make":
        return _make_problem(words)
    if program.startswith("python") and words[:1] == ["-m"] and words[1:]:
        return _module_problem(words[1], words[2:], whole)
    if program == "cac" and words:
        return _cac_problem(command, words, whole)
    return None


def module_path(dotted: str) -> Path | None:
    """Return the file of a module of this repository; None if there is none."""
    path = ROOT / ("src" if dotted.startswith("cac") else "") / dotted.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _make_problem(words: list[str]) -> str | None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    unknown = [word for word in words if "=" in word and f"$({word.partition('=')[0]})" not in makefile]
    if unknown:
        return f"no such variable: {unknown[0]}"
    return None if not words or re.search(rf"^{words[0]}:", makefile, re.M) else "no such target"


def _module_problem(module: str, words: list[str], whole: bool) -> str | None:
    if module == "cac":
        return _cac_problem(Command(("cac", *words)), words, whole)
    if module == "flows" and words:
        return _flow_problem(Command(tuple(words)), whole)
    if module.split(".")[0] in ("flows", "infra", "benchmarks", "scripts") and not module_path(module):
        return "no such module"
    return None


def _cac_problem(command: Command, words: list[str], whole: bool) -> str | None:
    parser = cac_parser()
    if whole:
        return _run_parser(parser.parse_args, words)[0]
    verb = parser
    for word in words:
        choices = _subparsers(verb)
        if choices and re.fullmatch(r"[a-z-]+", word) and not word.startswith("--"):
            if word not in choices:
                return f"no verb {word}"
            verb = choices[word]
    known = {*parser._option_string_actions, *verb._option_string_actions}
    unknown = [option for option in command.options if option not in known]
    return f"no option {', '.join(unknown)}" if unknown else None


def _flow_problem(command: Command, whole: bool) -> str | None:
    """Return what is wrong with a command of `python -m flows`; of a partial one, verb and options are checked."""
    words = list(command.words) if whole else [command.words[0], "--help"]
    error, output = _run_parser(parse_flow_arguments, words)
    return error or next((f"no option {one}" for one in command.options if not whole and one not in output), None)


def _run_parser(parse: Callable[[list[str]], object], words: list[str]) -> tuple[str | None, str]:
    """Return the parser's error message, None where there is none, and what it printed."""
    output, errors = StringIO(), StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            parse(words)
        except SystemExit as done:
            if done.code:
                return errors.getvalue().splitlines()[-1], output.getvalue()
    return None, output.getvalue()


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return next((dict(a.choices) for a in parser._actions if isinstance(a, argparse._SubParsersAction)), {})


def all_verbs(parser: argparse.ArgumentParser, prefix: str = "cac") -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of all commands by their words, such as "cac data build"."""
    found: dict[str, argparse.ArgumentParser] = {}
    for word, verb in _subparsers(parser).items():
        found |= all_verbs(verb, f"{prefix} {word}") if _subparsers(verb) else {f"{prefix} {word}": verb}
    return found
