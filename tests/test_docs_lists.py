"""Lists in the pages that must be complete: the index of experiments, the changelog's renamed settings."""

import re
from pathlib import Path

from cac.params_errors import RENAMED

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ROOT / "docs" / "experiments"


def test_the_index_lists_every_experiment_newest_first() -> None:
    index = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| .*?\]\(([^)]+)\)", index, flags=re.M)
    assert sorted(listed) == sorted(page.name for page in EXPERIMENTS.glob("2*.md"))
    assert [name[:10] for name in listed] == sorted((name[:10] for name in listed), reverse=True)


def test_the_changelog_lists_every_renamed_setting() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    names = {name for section in RENAMED.values() for pair in section.items() for name in pair}
    assert [name for name in sorted(names) if not re.search(rf"`{name}\b", changelog)] == []
