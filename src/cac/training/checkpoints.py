"""Resumable checkpoints of a training stage, outside DVC and valid for the same inputs only.

An interrupted stage resumes from its last checkpoint if nothing it depends on has changed. Otherwise it starts from the
beginning, and the earlier checkpoints are set aside under another name: whoever undoes the change resumes them.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cac.errors import CacError
from cac.io.distributed import is_model_sharded, world_size
from cac.model.adapter_files import read_weights, require_finite, require_fitting
from cac.model.loading import base_identity
from cac.params import Model
from cac.paths import CHECKPOINTS, DVC_YAML
from cac.tracking.dvc_files import read_yaml

KEY_FILE = "checkpoint_key.json"
_PACKAGE = Path(__file__).parents[1]
_SOURCES = "src/cac/"  # how dvc.yaml names the package's files


@dataclass(frozen=True)
class CheckpointKey:
    """What checkpoints depend on, each as a hash or a name.

    Attributes:
        code: the modules that the stage runs.
        settings: its sections of params.yaml.
        inputs: the files it reads.
        base: the base model's weights.
        processes: how many processes train; each saves its own random state.
    """

    code: str
    settings: str
    inputs: str
    base: str
    processes: int

    @property
    def digest(self) -> str:
        """One hash of all."""
        return _sha256([json.dumps(asdict(self), sort_keys=True).encode()])


def checkpoint_key(
    settings: Mapping[str, Any], inputs: Sequence[Path], model: Model, root: Path, stage: str
) -> CheckpointKey:
    """Return what a stage's checkpoints depend on.

    Args:
        settings: as `Params.sections` returns them.
        inputs: files, or folders whose files all count. The path of the project does not matter.
        model: the base.
        root: the project, whose dvc.yaml names the modules of its stages.
        stage: a stage of dvc.yaml; the whole package counts if the project has no such stage, or one that names no
            module of this package.
    """
    return CheckpointKey(
        code=_sha256(source.read_bytes() for source in _stage_sources(root, stage)),
        settings=_sha256([json.dumps(dict(settings), sort_keys=True).encode()]),
        inputs=_sha256(file.name.encode() + b"\0" + file.read_bytes() for path in inputs for file in _files(path)),
        base=base_identity(model),
        processes=world_size(),
    )


def _stage_sources(root: Path, stage: str) -> list[Path]:
    """Return the modules that a stage depends on, sorted."""
    try:
        dependencies = read_yaml(root / DVC_YAML)["stages"][stage]["deps"]
    except (CacError, KeyError, TypeError):
        dependencies = []
    own = [_PACKAGE / path.removeprefix(_SOURCES) for path in dependencies if path.startswith(_SOURCES)]
    modules = sorted(path for path in own if path.suffix == ".py")
    is_known = modules and all(path.is_file() for path in modules)  # else the list is of another version of the package
    return modules if is_known else sorted(_PACKAGE.rglob("*.py"))


def _files(path: Path) -> list[Path]:
    return sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]


def _sha256(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def prepare_folder(root: Path, stage: str, key: CheckpointKey) -> Path:
    """Return the checkpoint folder of a stage, empty or with checkpoints of the same key.

    Checkpoints of another key are set aside as `<stage>.<start of its hash>`, and found there again; those without a
    readable key as `<stage>.unknown`.
    """
    folder = root / CHECKPOINTS / stage
    earlier = _read_key(folder)
    if earlier == key:
        return folder
    if folder.exists():
        _set_aside(folder, earlier, key)
    aside = _aside(folder, key)
    if _read_key(aside) == key:
        aside.rename(folder)
        print(f"{stage}  resumes the checkpoints set aside in {aside}", flush=True)
        return folder
    folder.mkdir(parents=True)
    (folder / KEY_FILE).write_text(json.dumps(asdict(key), indent=2) + "\n", encoding="utf-8")
    return folder


def _set_aside(folder: Path, earlier: CheckpointKey | None, key: CheckpointKey) -> None:
    aside = _aside(folder, earlier) if earlier else folder.with_name(f"{folder.name}.unknown")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    if earlier is None:  # killed before the key was written, or of another version
        reason, remedy = f"{KEY_FILE} of its checkpoints cannot be read", "nothing resumes them: delete the folder"
    else:
        changed = ", ".join(name for name, value in asdict(earlier).items() if value != asdict(key)[name])
        reason = f"{changed} changed since its checkpoints"
        remedy = "undo the change to resume them, or delete the folder"
    print(f"{folder.name}  starts from the beginning: {reason}. They are kept in {aside}; {remedy}.", flush=True)


def _aside(folder: Path, key: CheckpointKey) -> Path:
    return folder.with_name(f"{folder.name}.{key.digest[:8]}")


def _read_key(folder: Path) -> CheckpointKey | None:
    values = _read_json(folder / KEY_FILE)
    if not isinstance(values, dict):
        return None
    try:
        return CheckpointKey(**values)
    except TypeError:  # written by another version
        return None


def train(trainer: Any, folder: Path) -> None:
    """Train, from the newest complete checkpoint in the folder if there is one.

    Raises:
        CacError: that checkpoint's adapter is damaged or has other weights than the model.
    """
    checkpoint = last_checkpoint(folder)
    if checkpoint is not None and not is_model_sharded():  # a sharded checkpoint has no adapter file
        _require_fitting_adapter(trainer.model, Path(checkpoint))
    trainer.train(resume_from_checkpoint=checkpoint)


def _require_fitting_adapter(model: Any, checkpoint: Path) -> None:
    """Check what the trainer would only warn about."""
    try:
        weights = read_weights(checkpoint)
        require_finite(checkpoint, weights)
        require_fitting(model, checkpoint, weights)
    except CacError as error:
        raise CacError(f"cannot resume. {error} Delete {checkpoint} to resume an earlier checkpoint.") from error


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
