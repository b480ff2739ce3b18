"""Read dvc.yaml and dvc.lock, and compute hashes as DVC does; DVC itself is neither imported nor called.

`dvc.yaml` names what a stage reads, `dvc.lock` what it read and made when it last ran. Hashes are those of DVC 3: the
MD5 of a file, and for a folder the MD5 of the JSON list of its files (dvc_data/hashfile/tree.py). Out of
scope: `.dvcignore` (no folder of the pipeline holds a file that it names) and hashes of DVC 2.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cac.errors import CacError
from cac.paths import DVC_LOCK, DVC_YAML


@dataclass(frozen=True)
class LockedStage:
    """A stage's entry in dvc.lock.

    Attributes:
        inputs: {path: md5} of its dependencies, and {"params.yaml:key": the value as JSON} of its settings.
        outputs: {path: md5}.
    """

    inputs: dict[str, str]
    outputs: dict[str, str]


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        CacError: the file cannot be read, or holds no mapping.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CacError(f"cannot read {path}: {error.strerror}. Restore it from git.") from error
    except yaml.YAMLError as error:
        raise CacError(f"{path} is not valid YAML: {error}. Restore it from git.") from error
    if not isinstance(content, dict):
        raise CacError(f"{path} holds no YAML mapping. Restore it from git.")
    return content


def read_lock_entries(root: Path) -> dict[str, Any]:
    """Return each stage's entry of dvc.lock as it stands, sorted by name; empty without the file.

    Raises:
        CacError: the file has no stages.
    """
    path = root / DVC_LOCK
    if not path.is_file():
        return {}
    stages = read_yaml(path).get("stages")
    if not isinstance(stages, dict):
        raise CacError(f"{path} has no stages. Restore it from git, or run `dvc repro`.")
    return dict(sorted(stages.items()))


def read_locked_stages(root: Path) -> dict[str, LockedStage]:
    """Return what dvc.lock says of each stage; empty without the file.

    Raises:
        CacError: the file has no stages.
    """
    return {name: _locked(entry) for name, entry in read_lock_entries(root).items()}


def _locked(entry: Mapping[str, Any]) -> LockedStage:
    settings = {
        f"{file}:{key}": _value(value)
        for file, keys in entry.get("params", {}).items()
        for key, value in keys.items()
    }  # fmt: skip
    return LockedStage(_hashes(entry.get("deps", [])) | settings, _hashes(entry.get("outs", [])))


def _hashes(entries: list[dict[str, Any]]) -> dict[str, str]:
    return {entry["path"]: str(entry["md5"]) for entry in entries}


def stage_inputs(root: Path, stage: str, md5: Callable[[Path], str] | None = None) -> dict[str, str]:
    """Return what a stage would read now, as `LockedStage.inputs` has it; empty if dvc.yaml names no such stage.

    Reads every file, the dataset's too, which costs less than decoding it once; `md5` may be a `md5_of` that remembers.
    """
    path = root / DVC_YAML
    entry = read_yaml(path).get("stages", {}).get(stage, {}) if path.is_file() else {}
    hashes = {name: (md5 or md5_of)(root / name) for name in entry.get("deps", [])}
    return hashes | _present_settings(root, entry.get("params", []))


def _present_settings(root: Path, keys: list[Any]) -> dict[str, str]:
    """Return the present values of settings; dvc.yaml names those of params.yaml by plain keys."""
    if not keys:
        return {}
    settings = read_yaml(root / "params.yaml")
    return {f"params.yaml:{key}": _value(_at(settings, key)) for key in keys}


def _at(settings: Mapping[str, Any], key: str) -> object:
    level: object = settings
    for part in key.split("."):
        level = level.get(part) if isinstance(level, dict) else None
    return level


def _value(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def md5_of(path: Path) -> str:
    """Return DVC's hash of a file or folder; "missing" if there is none."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        rows = [{"md5": _file_md5(file), "relpath": file.relative_to(path).as_posix()} for file in files]
        listed = json.dumps(sorted(rows, key=lambda row: row["relpath"]), sort_keys=True)
        return f"{hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest()}.dir"
    return _file_md5(path) if path.is_file() else "missing"


def _file_md5(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
