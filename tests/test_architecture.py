"""The picture of the architecture and the list of folders say what the code says."""

import re
from pathlib import Path

from scripts.architecture_picture import PICTURE, draw

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_picture_is_drawn_from_todays_imports():
    assert PICTURE.read_text(encoding="utf-8") == draw(), "run `python -m scripts.architecture_picture`"


def test_every_folder_of_the_package_has_its_line():
    named = set(re.findall(r"^\| `src/cac/([a-z_/]+)/` \|", PAGE, re.MULTILINE))
    folders = {str(path.parent.relative_to(ROOT / "src" / "cac")) for path in (ROOT / "src" / "cac").rglob("*.py")}
    # `data` is described folder by folder, and `rl/downstream` in the line of `rl`.
    assert named == folders - {".", "data", "rl/downstream"}


def test_folders_stay_small_and_files_short():
    folders = [path for top in ("src/cac", "flows") for path in (ROOT / top).rglob("*") if path.is_dir()]
    crowded = {str(path): count for path in folders if (count := len(list(path.glob("*.py")))) > 20}
    assert not crowded, "about 15 modules a folder"
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "src").rglob("*.py")}
    assert not {str(path): count for path, count in lines.items() if count > 350}
