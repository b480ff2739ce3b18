"""A trained reward model as one folder that stands alone: base, adapter, processor, frames, calibration.

Only safetensors and JSON. A base from the Hub is named with its revision instead of copied. What it leaves out: how the
folder becomes a registered model (`registry/register.py`).
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cac.errors import CacError
from cac.model.adapters import load_adapter
from cac.model.calibration import Calibration
from cac.model.loading import base_folder, base_identity, load_base
from cac.params import Frames, Model
from cac.schema.dialogue import DIALOGUE_VERSION
from cac.schema.taxonomy import TAXONOMY_VERSION

CARD = "reward_model.json"


@dataclass(frozen=True)
class PackageSettings:
    """What a package holds besides weights: the base's name, frames, calibration, and the length limit of a turn."""

    base: Model
    frames: Frames
    calibration: Calibration
    max_turn_tokens: int


@dataclass(frozen=True)
class Package:
    """A package in memory: the model with its adapter, its processor, and what it was measured with."""

    model: Any
    processor: Any
    frames: Frames
    calibration: Calibration
    max_turn_tokens: int


def write_package(out: Path, adapter: Path, settings: PackageSettings) -> None:
    """Write the folder; the same inputs give the same bytes.

    Raises:
        CacError: `out` exists already.
    """
    if out.exists():
        raise CacError(f"{out} exists; a package is never written over another.")
    out.mkdir(parents=True)
    shutil.copytree(adapter, out / "adapter")
    base = settings.base
    folder = base_folder(base)
    if folder is not None:
        shutil.copytree(folder, out / "base")
    card = {
        "base": {"name": base.base, "revision": base.revision, "dtype": base.dtype, "included": folder is not None},
        "base_identity": base_identity(base),
        "frames": settings.frames.model_dump(),
        "calibration": asdict(settings.calibration),
        "max_turn_tokens": settings.max_turn_tokens,
        "dialogue_version": DIALOGUE_VERSION,
        "taxonomy_version": TAXONOMY_VERSION,
    }
    (out / CARD).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_package(folder: Path) -> Package:
    """Load what `write_package` wrote.

    Raises:
        CacError: the folder is no package, or it was made for another version of the dialogue.
    """
    card_file = folder / CARD
    if not card_file.is_file():
        raise CacError(f"{folder} is no reward model package (it has no {CARD}).")
    card = json.loads(card_file.read_text(encoding="utf-8"))
    if card["dialogue_version"] != DIALOGUE_VERSION:
        raise CacError(
            f"{folder} speaks dialogue version {card['dialogue_version']}, this installation {DIALOGUE_VERSION}; "
            "install the version of cac it was registered with."
        )
    base = card["base"]
    source = str(folder / "base") if base["included"] else base["name"]
    model, processor = load_base(Model(base=source, revision=base["revision"], dtype=base["dtype"]))
    model = load_adapter(model, folder / "adapter", card["base_identity"], trainable=False)
    return Package(
        model.eval(),
        processor,
        Frames(**card["frames"]),
        Calibration(**card["calibration"]),
        card["max_turn_tokens"],
    )
