"""The pages name only what there is: links, paths, modules, commands with their options, and settings."""

import argparse
import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from helpers.command_check import all_verbs, cac_parser, find_problem, module_path
from helpers.markdown import anchors, blocks, commands, links, read, spans, split_commands

from cac.cli.flow_arguments import parse_flow_arguments
from cac.params import Params

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Pages that say what was, not what is; only their links are checked.
HISTORY = ("docs/decisions.md", "docs/experiments/", "CHANGELOG.md", "src/cac/model/NANO.md")
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "src/cac/model/NANO.md"])
PRESENT = [page for page in PAGES if not str(page.relative_to(ROOT)).startswith(HISTORY)]
HOW_TOS = sorted((DOCS / "how-to").glob("*.md"))
COMMANDS = DOCS / "reference" / "commands.md"
FOLDERS = ("src", "flows", "infra", "tests", "docs", "conf", "scripts", "benchmarks", "examples", "ablations", ".ci")
# Dotted names that are no modules: Prefect's events and resources.
EVENTS = ("cac.dataset.", "cac.drift.")
SOURCES = (".py", ".yaml", ".html", ".toml")
GENERATED = ("infra/.env",)  # made when it is needed, ignored by git
FOREIGN_MESSAGES = ("cac: command not found",)
FOREIGN_NAMES = {
    *("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "UV_DEFAULT_INDEX"),
    *("AwaitingConcurrencySlot", "multi_score", "eval_dataset"),  # Prefect, Flow-GRPO, TRL
}
COMMON = {"-h", "--help"}
PAGE = """# A title, with `code` and [a link](other.md#a-heading)

    cac status && make run  # a comment

## Twice
![a picture](picture.png) `compute.seed: 7` and `no
setting`

```bash
CAC_X=1 cac score a.mp4 \\
  --json | ls
```

```python
from cac.params import Params
```

## Twice
"""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name)
every_present_page = pytest.mark.parametrize("page", PRESENT, ids=name)


@every_page
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in links(page):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@every_present_page
def test_paths_in_the_repository_exist(page: Path) -> None:
    named = (span for span in spans(page) if re.fullmatch(r"[\w.*/-]+", span))
    missing = [path for path in named if _is_repository_path(path) and not any(ROOT.glob(path.rstrip("/")))]
    assert not missing


@every_present_page
def test_files_named_without_a_folder_exist(page: Path) -> None:
    named = {span for span in spans(page) if re.fullmatch(r"\w+\.py", span)}
    assert not named - _module_files()


@every_present_page
def test_modules_and_what_is_in_them_exist(page: Path) -> None:
    named = [span for span in spans(page) if re.fullmatch(r"(cac|flows|infra|benchmarks|scripts)(\.\w+)+", span)]
    for block in blocks(page, "python"):
        named += _imports(block)
    assert not [dotted for dotted in named if not _exists(dotted) and not f"{dotted}.".startswith(EVENTS)]


@every_present_page
def test_commands_parse(page: Path) -> None:
    """Commands in blocks parse as they are; of those in sentences or with `…`, verb and options exist."""
    wrong = []
    in_sentences = [command for span in spans(page) for command in split_commands(span)]
    for command, whole in [*((one, True) for one in commands(page)), *((one, False) for one in in_sentences)]:
        problem = find_problem(command, whole and not command.is_partial)
        if problem:
            wrong.append(f"{command}: {problem}")
    assert not wrong


@every_present_page
def test_settings_exist(page: Path) -> None:
    named = [match[1] for span in spans(page) if (match := re.fullmatch(r"(\w+(?:\.\w+)+)(?:: .*)?", span))]
    sections = Params.model_fields.keys()
    assert not [key for key in named if key.split(".")[0] in sections and not _is_setting(key)]


@pytest.mark.parametrize("page", HOW_TOS, ids=name)
def test_a_how_to_begins_with_when_to_use_it(page: Path) -> None:
    assert re.match(r"# [^\n]+\n\nUse this (page )?when ", read(page))


def test_the_index_names_every_page() -> None:
    indexed = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "README.md") if "://" not in link}
    pages = {page for page in DOCS.rglob("*.md") if page.parent != DOCS / "experiments"} - {DOCS / "README.md"}
    assert not pages - indexed


def test_messages_in_troubleshooting_come_from_the_code() -> None:
    source = _source_text()
    messages = re.findall(
        r"`([^`]+)`", "".join(re.findall(r"^\*\*.+?\*\*", read(DOCS / "troubleshooting.md"), flags=re.M))
    )
    parts = [
        part.strip() for text in messages for part in re.split(r"…|\b[A-Z]{3,}\b|error:", text) if " " in part.strip()
    ]
    assert len(parts) > 5
    assert not [part for part in parts if part not in source and part not in FOREIGN_MESSAGES]


@every_present_page
def test_identifiers_exist(page: Path) -> None:
    """Names such as `seconds_per_clip`, `TimedOut` or `STACK_STATE` are in the code, the settings or the tests."""
    named = {span for span in spans(page) if re.fullmatch(r"[A-Za-z]+(_[A-Za-z0-9]+)+|[A-Z][a-z]+([A-Z][a-z]*)+", span)}
    composed = {span for span in named if re.match(r"clean_share_in_|clips_of_", span)}
    assert not [one for one in sorted(named - composed - FOREIGN_NAMES) if one not in _repository_text()]


def test_every_verb_is_in_the_reference() -> None:
    assert set(_sections()) == set(all_verbs(cac_parser()))


def test_every_verb_of_the_flows_is_in_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_flow_arguments(["no-such-verb"])
    verbs = re.findall(r"'([a-z]+)'", capsys.readouterr().err.partition("choose from")[2])
    assert verbs
    assert set(re.findall(r"`python -m flows ([a-z]+)", read(COMMANDS))) == set(verbs)


def test_the_reference_has_the_options_that_the_parser_has() -> None:
    for verb, parser in all_verbs(cac_parser()).items():
        shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]  # not the old names
        there = {option for action in shown for option in action.option_strings} - COMMON
        assert set(re.findall(r"`(--[\w-]+)", _sections()[verb])) == there, verb


def test_the_reference_has_the_defaults_that_the_parser_has() -> None:
    wrong = []
    for verb, parser in all_verbs(cac_parser()).items():
        for action in parser._actions:
            if not action.option_strings or action.default in (None, False, [], argparse.SUPPRESS):
                continue
            row = next(row for row in _sections()[verb].splitlines() if f"`{action.option_strings[0]}" in row)
            if str(action.default).removesuffix(".0").rpartition("@")[2] not in row:
                wrong.append(f"{verb} {action.option_strings[0]}: {action.default}")
    assert not wrong


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("cac data validate --data mydata", None),
        ("cac data validate --dataset mydata", "--dataset"),
        ("cac data check", "invalid choice"),
        ("cac promote", "--version"),
        ("python -m cac status --jsn", "--jsn"),
        ("python -m flows.no_such_module", "no such module"),
        ("make no-such-target", "no such target"),
        ("make reproduce MODEL=1", "no such variable"),
        ("python -m flows monitr", "invalid choice"),
        ("ls --no-such-option", None),
    ],
)
def test_mistakes_in_commands_are_found(line: str, problem: str | None) -> None:
    (command,) = split_commands(line)
    found = find_problem(command, True)
    assert (found is None) if problem is None else (problem in str(found))


def test_commands_settings_and_modules_are_found_on_pages(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    assert [str(command) for command in commands(page)] == ["cac score a.mp4 --json", "ls", "cac status", "make run"]
    assert spans(page) == ["code", "compute.seed: 7", "no setting"]
    assert links(page) == ["other.md#a-heading", "picture.png"]
    assert anchors(page) == {"a-title-with-code-and-a-link", "twice", "twice-1"}
    assert list(_imports(blocks(page, "python")[0])) == ["cac.params.Params"]


@cache
def _source_text() -> str:
    """Return the code with strings that continue on the next line joined."""
    files = (path for folder in ("src", "flows") for path in (ROOT / folder).rglob("*.py"))
    text = re.sub(r'"\n *f?"', "", "\n".join(path.read_text("utf-8") for path in files))
    return text.replace("{DATASET}", "data").replace("{DATA_DVC}", "data.dvc")


@cache
def _repository_text() -> str:
    """Return code and configuration, without the tests of the docs."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.name != "test_docs.py"]
    paths += [*ROOT.glob("*.yaml"), *ROOT.glob("*.toml")]
    sources = [*(path for path in paths if path.suffix in SOURCES), *(ROOT / "infra").rglob("*.json")]
    return "\n".join(path.read_text("utf-8") for path in sources)


@cache
def _module_files() -> set[str]:
    return {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}


def _is_repository_path(span: str) -> bool:
    return span.split("/")[0] in FOLDERS and "/" in span and span not in GENERATED


def _exists(dotted: str) -> bool:
    """Whether a dotted name is a module, or a name that one defines."""
    *folders, last = dotted.split(".")
    if module_path(dotted):
        return True
    module = module_path(".".join(folders))
    return module is not None and re.search(rf"^(class |def )?{last}\b", module.read_text("utf-8"), re.M) is not None


def _imports(block: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cac"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _sections() -> dict[str, str]:
    """Return the text below each command's heading in the reference."""
    parts = re.split(r"^#{2,3} (.+)$", read(COMMANDS), flags=re.M)[1:]
    return {
        heading.strip("` "): text
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
        if heading.startswith("`cac ")
    }


def _is_setting(key: str) -> bool:
    model: object = Params
    for part in key.split("."):
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return False
        model = fields[part].annotation
    return True
