"""Resumable checkpoints of a stage: kept outside DVC, valid only for exactly the same inputs.

A stage that was interrupted goes on from its last checkpoint if nothing it depends on has changed; if anything has, the
checkpoints are thrown away and it starts anew.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cac.io.distributed import best_device, world_size
from cac.params import Compute
from cac.paths import CHECKPOINTS

KEY_FILE = "checkpoint_key.json"


def checkpoint_key(settings: Mapping[str, Any], inputs: Sequence[Path]) -> str:
    """Hash what a stage's checkpoints are valid for: the code, its settings, its input files and the process world_size.

    Args:
        settings: as `Params.sections` returns them.
        inputs: files, or folders of which every file counts; where the project lies does not matter.
    """
    digest = hashlib.sha256()
    digest.update(_code_digest())
    digest.update(f"{world_size()} processes".encode())  # each keeps a state of its own
    digest.update(json.dumps(dict(settings), sort_keys=True).encode())
    for path in inputs:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _code_digest() -> bytes:
    """Hash the sources of this package: a checkpoint of other code is not gone on from."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for source in sorted(package.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.digest()


def prepare_folder(root: Path, stage: str, key: str) -> Path:
    """Return the stage's checkpoint folder, emptied if it belongs to other inputs."""
    folder = root / CHECKPOINTS / stage
    mark = folder / KEY_FILE
    if _json_of(mark) != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mark.write_text(json.dumps(key), encoding="utf-8")
    return folder


def last_checkpoint(folder: Path) -> str | None:
    """Return the newest whole checkpoint in the folder, None if there is none to go on from."""
    whole = [path for path in folder.glob("checkpoint-*") if _is_whole(path)]
    return str(max(whole, key=lambda path: int(path.name.rsplit("-", 1)[1]))) if whole else None


def _is_whole(checkpoint: Path) -> bool:
    """Tell whether the trainer finished writing a checkpoint: its state comes last."""
    return _json_of(checkpoint / "trainer_state.json") is not None


def _json_of(path: Path) -> Any:
    """Return what a file says; None if it is missing, or was cut off by a kill or a full disk."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def remove(folder: Path) -> None:
    """Remove the checkpoints of a stage that has finished."""
    shutil.rmtree(folder, ignore_errors=True)


def trainer_arguments(folder: Path, compute: Compute, save_steps: int, logging_steps: int) -> dict[str, Any]:
    """Return the arguments every stage's trainer shares."""
    return {
        "output_dir": str(folder),
        "save_strategy": "steps",
        "save_steps": save_steps,
        "save_total_limit": 2,
        "logging_steps": logging_steps,
        "report_to": "none",
        "disable_tqdm": True,
        "gradient_checkpointing": compute.gradient_checkpointing,
        "use_cpu": best_device() == "cpu",
        "dataloader_pin_memory": False,
        "remove_unused_columns": False,
        "full_determinism": False,  # loading.make_deterministic has done it
        "bf16": False,
    }
