"""Run state: what a result was made from (code, data, settings, pipeline and environment), as short strings.

Everything is read from plain files under a root folder and from git, so the same state gives the same strings. A value
that cannot be determined is "unknown", never a guess. DVC itself is not used: `data.dvc` and `dvc.lock` are YAML files.
"""

import hashlib
import json
import platform
import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from cac.errors import CacError
from cac.io.git import read_git
from cac.params import Params
from cac.paths import DATA_DVC, DVC_LOCK, TRACKED_METRICS
from cac.tracking.dvc_files import read_lock_entries, read_yaml

UNKNOWN = "unknown"
WRITTEN_BY_PIPELINE = (DVC_LOCK, *TRACKED_METRICS)  # tracked by git, and no input of any stage


@dataclass(frozen=True)
class RunState:
    """The state a result was made from; a field that cannot be determined is "unknown".

    Attributes:
        git_commit: full hash of the commit checked out.
        git_dirty: "true" if tracked files differ from it or untracked ones lie beside them, else "false". What the
            pipeline itself writes does not count: that is what the hashes of its stages are for.
        data_md5: DVC's hash of the dataset folder.
        params_sha256: hash of the checked settings, so comments and order in the file do not matter.
        stages_sha256: hash over the hashes of all stages in dvc.lock.
        environment_sha256: hash of requirements.lock, the Python version, and the installed versions of what it names.
    """

    git_commit: str
    git_dirty: str
    data_md5: str
    params_sha256: str
    stages_sha256: str
    environment_sha256: str

    def tags(self) -> dict[str, str]:
        """Return the fields as tags for MLflow."""
        return dict(vars(self))


def read_run_state(root: Path, params: Params) -> RunState:
    """Return the state of the project at `root` with these settings.

    Raises:
        CacError: `data.dvc` or `dvc.lock` exists but cannot be read.
    """
    commit, dirty = git_state(root)
    stages = stage_hashes(root)
    return RunState(
        git_commit=commit,
        git_dirty=dirty,
        data_md5=data_md5(root),
        params_sha256=params_sha256(params),
        stages_sha256=json_sha256(stages) if stages else UNKNOWN,
        environment_sha256=environment_sha256(root),
    )


def git_state(root: Path) -> tuple[str, str]:
    """Return (commit, dirty flag) of the checkout that holds `root`; both "unknown" outside of one or without git."""
    commit = read_git(root, "rev-parse", "--verify", "HEAD")
    apart = [f":(exclude){path.as_posix()}" for path in WRITTEN_BY_PIPELINE]
    changes = read_git(root, "status", "--porcelain", "--", ":/", *apart)
    if commit is None or changes is None:
        return UNKNOWN, UNKNOWN
    return commit, "true" if changes else "false"


def data_md5(root: Path) -> str:
    """Return the dataset's hash as `data.dvc` names it, such as "1a…f.dir"; "unknown" without the file.

    Raises:
        CacError: the file does not name exactly one output with an md5.
    """
    path = root / DATA_DVC
    if not path.is_file():
        return UNKNOWN
    outs = read_yaml(path).get("outs")
    if not isinstance(outs, list) or len(outs) != 1 or "md5" not in outs[0]:
        raise CacError(f"{path} does not name one output with its md5. Write it again with `dvc add data`.")
    return str(outs[0]["md5"])


def stage_hashes(root: Path) -> dict[str, str]:
    """Return a hash of each stage's entry in dvc.lock (command, inputs, settings, outputs); empty without the file.

    Raises:
        CacError: the file has no stages.
    """
    return {name: json_sha256(entry) for name, entry in read_lock_entries(root).items()}


def params_sha256(params: Params) -> str:
    """Return the hash of the checked settings."""
    return json_sha256(params.model_dump(mode="json"))


def environment_sha256(root: Path) -> str:
    """Return the hash of requirements.lock, Python's version and what is installed; "unknown" without the lock file.

    Only packages that the file names count, so that additional tools change nothing. Only Python's own package folders
    are searched, because setuptools, once imported, puts others on the path.
    """
    lock = root / "requirements.lock"
    if not lock.is_file():
        return UNKNOWN
    names = re.findall(r"^([A-Za-z0-9._-]+)==", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    installed = _installed_versions()
    versions = [installed.get(name) for name in sorted(set(names))]
    return json_sha256([file_sha256(lock), platform.python_version(), *versions])


def _installed_versions() -> dict[str, str]:
    """Return {package: version}, names written as requirements.lock writes them."""
    from importlib.metadata import distributions

    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    return {re.sub(r"[-_.]+", "-", found.name).lower(): found.version for found in distributions(path=folders)}


def json_sha256(value: object) -> str:
    """Return the SHA-256 of JSON-ready data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def folder_sha256(folder: Path) -> str:
    """Return a hash of all files below a folder, by relative path and content."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return json_sha256({path.relative_to(folder).as_posix(): file_sha256(path) for path in files})
