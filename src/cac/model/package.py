"""A reward model package: one self-contained folder with base, adapter, processor, frame settings and calibration.

The folder has safetensors and JSON only. A base from the Hub is referenced by revision instead of copied. Out of scope:
registering the folder as a model version (`registry/register.py`).
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from cac.errors import CacError
from cac.frames import Frames
from cac.model.adapters import load_adapter
from cac.model.calibration import Calibration
from cac.model.familiarity import Familiarity
from cac.model.loading import NANO, base_folder, base_identity, load_base
from cac.model.nano import NANO_SCOPE
from cac.model.package_checksums import check_sums, write_sums
from cac.params import Model
from cac.schema.dialogue import DIALOGUE_VERSION, READABLE_VERSIONS
from cac.schema.taxonomy import TAXONOMY_VERSION

CARD = "reward_model.json"
SUMS_KEY = "package_sha256sums"  # in the metadata of a registered model
PACKAGE_VERSION = 2  # 1, which the card does not name, had no checksums
# The frames of packages from before there were rates and segments.
_WITHOUT_RATES: Mapping[str, Any] = {"coarse_rate": None, "dense_rate": None, "overlap": 0.0}
_CARD_KEYS = {"base", "base_identity", "frames", "calibration", "max_turn_tokens", "dialogue_version"}


@dataclass(frozen=True)
class PackageSettings:
    """The settings in a package.

    Attributes:
        base, frames: what was trained, and on which frames.
        calibration: of the scores.
        max_turn_tokens: the maximum length of a turn.
        familiarity: the clips that the calibration saw; None if there were too few.
    """

    base: Model
    frames: Frames
    calibration: Calibration
    max_turn_tokens: int
    familiarity: Familiarity | None = None


@dataclass(frozen=True)
class Package:
    """A loaded package: the model with its adapter merged, its processor, and the settings it was evaluated with."""

    model: Any
    processor: Any
    frames: Frames
    calibration: Calibration
    max_turn_tokens: int
    familiarity: Familiarity | None
    scope: str | None  # a warning that every score carries


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
        "package_version": PACKAGE_VERSION,
        "frames": settings.frames.model_dump(),
        "calibration": asdict(settings.calibration),
        "max_turn_tokens": settings.max_turn_tokens,
        "familiarity": settings.familiarity and settings.familiarity.to_dict(),
        "scope": NANO_SCOPE if base.base == NANO else None,
        "dialogue_version": DIALOGUE_VERSION,
        "taxonomy_version": TAXONOMY_VERSION,
    }
    (out / CARD).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    write_sums(out)


def read_package(folder: Path) -> Package:
    """Load a folder that `write_package` wrote, if it is whole.

    Raises:
        CacError: the folder is not a package, a file of it is missing, changed or added, or its dialogue version
            differs from this installation's.
    """
    card = _read_card(folder)
    registered = _registered_digest(folder)
    if card.get("package_version", 1) > 1 or registered is not None:
        check_sums(folder, registered)
    if card["dialogue_version"] not in READABLE_VERSIONS:
        raise CacError(
            f"{folder} uses dialogue version {card['dialogue_version']}, this installation reads "
            f"{' and '.join(READABLE_VERSIONS)}; "
            "install the version of cac it was registered with."
        )
    base = card["base"]
    source = str(folder / "base") if base["included"] else base["name"]
    settings = Model(base=source, revision=base["revision"], dtype=base["dtype"])
    _require_base(folder, settings, card)
    model, processor = load_base(settings)
    model = load_adapter(model, folder / "adapter", card["base_identity"], None, trainable=False)
    familiarity = card.get("familiarity")
    return Package(
        model.eval(),
        processor,
        Frames(**(_WITHOUT_RATES | card["frames"])),
        Calibration(**card["calibration"]),
        card["max_turn_tokens"],
        Familiarity.from_dict(familiarity) if familiarity else None,
        card.get("scope"),
    )


def _registered_digest(folder: Path) -> str | None:
    """Return the hash of the sums that MLflow's MLmodel records for a package; None outside of a registered model."""
    file = folder.parents[1] / "MLmodel"
    if not file.is_file():
        return None
    metadata = yaml.safe_load(file.read_text(encoding="utf-8")).get("metadata") or {}
    digest: str | None = metadata.get(SUMS_KEY)
    return digest


def _read_card(folder: Path) -> dict[str, Any]:
    file = folder / CARD
    if not file.is_file():
        raise CacError(f"{folder} is not a reward model package (it has no {CARD}).")
    try:
        card: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CacError(f"{file} is not valid JSON: {error}. Download the package again.") from error
    missing = sorted(_CARD_KEYS - set(card))
    if missing:
        raise CacError(f"{file} lacks {', '.join(missing)}. Download the package again.")
    return card


def _require_base(folder: Path, settings: Model, card: dict[str, Any]) -> None:
    """Check that a package's own base has the weights that its card names: `<name>-<hash>`."""
    if not card["base"]["included"]:
        return
    found, expected = (name.rpartition("-")[2] for name in (base_identity(settings), card["base_identity"]))
    if found != expected:
        raise CacError(f"the base in {folder} has the weights {found}, but its card names {expected}.")
