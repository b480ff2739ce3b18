"""Resumable checkpoints of a training stage, outside DVC and valid for the same inputs only.

An interrupted stage resumes from its last checkpoint if nothing it depends on has changed. Otherwise its checkpoints
are deleted and it starts from the beginning.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cac.io.distributed import world_size
from cac.paths import CHECKPOINTS

KEY_FILE = "checkpoint_key.json"


def checkpoint_key(settings: Mapping[str, Any], inputs: Sequence[Path]) -> str:
    """Hash what a stage's checkpoints depend on: code, settings, input files and the number of processes.

    Args:
        settings: as `Params.sections` returns them.
        inputs: files, or folders whose files all count. The path of the project does not matter.
    """
    digest = hashlib.sha256()
    digest.update(_code_digest())
    digest.update(f"{world_size()} processes".encode())  # each process saves its own random state
    digest.update(json.dumps(dict(settings), sort_keys=True).encode())
    for path in inputs:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _code_digest() -> bytes:
    """Hash the sources of this package: a checkpoint made by other code is not resumed."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for source in sorted(package.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.digest()


def prepare_folder(root: Path, stage: str, key: str) -> Path:
    """Return the checkpoint folder of a stage, emptied first if its checkpoints have another key."""
    folder = root / CHECKPOINTS / stage
    key_file = folder / KEY_FILE
    if _read_json(key_file) != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        key_file.write_text(json.dumps(key), encoding="utf-8")
    return folder


def last_checkpoint(folder: Path) -> str | None:
    """Return the newest complete checkpoint in the folder, or None."""
    complete = [path for path in folder.glob("checkpoint-*") if _is_complete(path)]
    return str(max(complete, key=lambda path: int(path.name.rsplit("-", 1)[1]))) if complete else None


def _is_complete(checkpoint: Path) -> bool:
    """Return whether the trainer finished writing a checkpoint; it writes its state last."""
    return _read_json(checkpoint / "trainer_state.json") is not None


def _read_json(path: Path) -> Any:
    """Return the content of a JSON file; None if it is missing or truncated by a kill or a full disk."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def remove(folder: Path) -> None:
    """Remove the checkpoints of a stage that has finished."""
    shutil.rmtree(folder, ignore_errors=True)
