"""The reference that recent clips are compared with: clips a person accepted, or else the test split.

Each version is registered with its answers on the test split, so a reference exists from its first day. The motion of
those clips is measured from the files in `data/`, if they are there. But half of the test clips are anomalous by
design, which a generator's output need not be. So after the first check a person runs `cac drift accept`, and the
accepted clips are the reference for as long as the same version is champion. Clips never become the reference
automatically, because slow drift would then go unnoticed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.monitoring.clips import ScoredClip, clips_from_predictions
from cac.monitoring.records import Record, load_clips
from cac.paths import DATASET
from cac.registry.predictions import EVALUATION_SET_TAG, load_predictions
from cac.schema.annotations import Clip
from cac.tracking.run_state import file_sha256
from cac.video.decode import open_video

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class Reference:
    """A description for people, and the clips."""

    name: str
    clips: tuple[ScoredClip, ...]


def find_reference(client: "MlflowClient", version: "ModelVersion", accepted: Record | None, root: Path) -> Reference:
    """Return the reference for a version: the clips accepted last, or else its test split.

    Raises:
        CacError: the version's test answers are not stored, or no longer there.
    """
    if accepted:
        name = f"clips of {accepted.source}, accepted (run {accepted.run_id})"
        return Reference(name, tuple(load_clips(client, accepted.run_id)))
    measured = load_predictions(client, version, version.tags.get(EVALUATION_SET_TAG, ""))
    if measured is None:
        raise CacError(
            f"{version.name} version {version.version} has no stored test answers. Run `cac register` again."
        )
    name = f"the test split of version {version.version}"
    return Reference(name, tuple(_with_motion(clips_from_predictions(measured), measured.clips, root / DATASET)))


def _with_motion(scored: Sequence[ScoredClip], clips: Sequence[Clip], dataset: Path) -> list[ScoredClip]:
    """Measure the motion of the clips whose files are in the dataset, unchanged."""
    return [_measured(one, clip, dataset / clip.path) for one, clip in zip(scored, clips, strict=True)]


def _measured(one: ScoredClip, clip: Clip, path: Path) -> ScoredClip:
    from cac.video.motion import mean_motion

    if not path.is_file() or file_sha256(path) != clip.sha256:
        return one
    return replace(one, motion=mean_motion(open_video(path)))
