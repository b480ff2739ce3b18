"""The version of the data: the hash in `data.dvc`, the commit that last changed it, and whether `data/` matches it.

The folder is compared with `data.dvc` by the number and total size of its files, so no clip is read. `make data` and
`dvc status` compare the content.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cac.errors import CacError
from cac.io.git import read_git
from cac.paths import DATA_DVC, DATASET
from cac.schema.annotations import MANIFEST_NAME
from cac.tracking.dvc_files import read_yaml
from cac.tracking.run_state import data_md5

_FIELDS = "%h%x00%cI%x00%s"


@dataclass(frozen=True)
class DataCommit:
    """The commit that last changed `data.dvc`: short hash, time (ISO 8601), first line of its message."""

    commit: str
    at: str
    subject: str


@dataclass(frozen=True)
class DataVersion:
    """The dataset.

    Attributes:
        md5: as `data.dvc` names it; "unknown" without the file.
        size: bytes, as `data.dvc` says; None if it does not.
        clips: lines of the manifest in `data/`; None if it is not there.
        brought_by: None if no commit has this `data.dvc`.
        folder: "as named", "differs" or "missing".
    """

    md5: str
    size: int | None
    clips: int | None
    brought_by: DataCommit | None
    folder: str


def data_version(root: Path) -> DataVersion:
    """Return the version of the data under `root`.

    Raises:
        CacError: there is no `data.dvc`, or it names no dataset.
    """
    if not (root / DATA_DVC).is_file():
        raise CacError(f"no {DATA_DVC} in {root}. Run from the project's root; `dvc add data` names a dataset.")
    md5 = data_md5(root)
    named = read_yaml(root / DATA_DVC)["outs"][0]
    return DataVersion(md5, named.get("size"), _clips(root), _brought_by(root), _folder(root / DATASET, named))


def _clips(root: Path) -> int | None:
    manifest = root / DATASET / MANIFEST_NAME
    if not manifest.is_file():
        return None
    with manifest.open("rb") as lines:
        return sum(1 for line in lines if line.strip())


def _brought_by(root: Path) -> DataCommit | None:
    """Return the commit of `data.dvc` as it is; None if it was never committed, or changed since."""
    said = read_git(root, "log", "-1", f"--format={_FIELDS}", "--", str(DATA_DVC))
    if not said or read_git(root, "status", "--porcelain", "--", str(DATA_DVC)) != "":
        return None
    commit, at, subject = said.split("\0", 2)
    return DataCommit(commit, at, subject)


def _folder(folder: Path, named: dict[str, Any]) -> str:
    if not folder.is_dir():
        return "missing"
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    said = (named.get("nfiles", len(sizes)), named.get("size", sum(sizes)))
    return "as named" if said == (len(sizes), sum(sizes)) else "differs"
