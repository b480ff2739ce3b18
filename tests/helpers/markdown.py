"""What a Markdown page says that can be checked: links, anchors, code spans and commands."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```", re.DOTALL | re.M)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)((?:(?:    [^\n]*)?\n)+)")
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*([^)\s]+)\s*\)")
_SPAN = re.compile(r"`([^`]+)`")
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.M)
_SHELLS = ("", "bash", "sh", "shell", "console")
_SEPARATORS = ("&&", "||", "|", ";")
_PLACEHOLDER = re.compile(r"…|\.\.\.|^\[|\]$")


@dataclass(frozen=True)
class Command:
    """One command line of a page."""

    words: tuple[str, ...]

    @property
    def is_partial(self) -> bool:
        """Whether the line stands for many, as one with `…` or `[optional]` does."""
        return any(_PLACEHOLDER.search(word) for word in self.words)

    @property
    def options(self) -> list[str]:
        """The options named, without their values."""
        return [word.strip("[]").partition("=")[0] for word in self.words if word.lstrip("[").startswith("--")]

    def __str__(self) -> str:
        return " ".join(self.words)


@cache
def read(page: Path) -> str:
    """Return a page's text."""
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in _HEADING.findall(_without_fences(read(page))):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        copies = (f"{slug}-{number}" for number in range(1, 100))
        found.add(slug if slug not in found else next(copy for copy in copies if copy not in found))
    return found


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures."""
    return _LINK.findall(_SPAN.sub("code", _without_code(read(page))))


def spans(page: Path) -> list[str]:
    """Return the inline code of a page, each on one line."""
    return [" ".join(span.split()) for span in _SPAN.findall(_without_code(read(page)))]


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the fenced blocks in any of the languages."""
    return [block["text"] for block in _FENCE.finditer(read(page)) if block["language"] in languages]


def commands(page: Path) -> list[Command]:
    """Return the command lines in a page's shell blocks, fenced or indented."""
    indented = _INDENTED.findall(_without_fences(read(page)))
    found: list[Command] = []
    for block in (*blocks(page, *_SHELLS), *indented):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            found.extend(split_commands(line))
    return found


def split_commands(line: str) -> Iterator[Command]:
    """Split a line into its commands, without variables set before one; nothing where it is no command."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a quotation that goes on elsewhere: output, not a command
        return
    command: list[str] = []
    for word in [*words, ";"]:
        if word not in _SEPARATORS:
            if command or not re.match(r"\w+=", word):
                command.append(word)
        elif command:
            yield Command(tuple(command))
            command = []


def _without_fences(text: str) -> str:
    return _FENCE.sub("", text)


def _without_code(text: str) -> str:
    return _INDENTED.sub("\n", _without_fences(text))
