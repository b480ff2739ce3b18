"""A reward model package: one self-contained folder with base, adapter, processor, frame settings and calibration.

The folder has safetensors and JSON only. A base from the Hub is referenced by revision instead of copied. Out of scope:
registering the folder as a model version (`registry/register.py`).
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
    """The settings in a package: the base, frames, calibration, and the maximum length of a turn."""

    base: Model
    frames: Frames
    calibration: Calibration
    max_turn_tokens: int


@dataclass(frozen=True)
class Package:
    """A loaded package: the model with its adapter merged, its processor, and the settings it was evaluated with."""

    model: Any
    processor: Any
    frames: Frames
    calibration: Calibration
    max_turn_tokens: int


def write_package(out: Path, adapter: Path, settings: PackageSettings) -> None:
    """Write the folder; equal inputs give equal bytes.

    Raises:
        CacError: `out` exists.
    """
    if out.exists():
        raise CacError(f"{out} exists; packages are never overwritten.")
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
    """Load a folder that `write_package` wrote.

    Raises:
        CacError: the folder is not a package, or its dialogue version differs from this installation's.
    """
    card_file = folder / CARD
    if not card_file.is_file():
        raise CacError(f"{folder} is not a reward model package (it has no {CARD}).")
    card = json.loads(card_file.read_text(encoding="utf-8"))
    if card["dialogue_version"] != DIALOGUE_VERSION:
        raise CacError(
            f"{folder} uses dialogue version {card['dialogue_version']}, this installation {DIALOGUE_VERSION}; "
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
