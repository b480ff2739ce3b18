"""What recent clips are compared with: clips a person accepted as what production looks like, else the test split.

A version's own answers on the test split are kept with it, so there is a reference from its first day on; how much
those clips move is measured from their files, where `data/` has them. But half of them are anomalous by design, which
no generator's output need be: after the first look a person says `cac drift accept`, and from then on that window is
the reference, for as long as the same version is champion. No window becomes one by itself, or slow drift would never
show.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.monitoring.clips import Seen, seen_in_measured
from cac.monitoring.records import Record, clips_of
from cac.paths import DATASET
from cac.registry.predictions import EVALUATION_SET_TAG, recall
from cac.schema.annotations import Clip
from cac.tracking.run_state import file_sha256
from cac.video.decode import decode

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class Reference:
    """What it is, in words, and its clips."""

    name: str
    clips: tuple[Seen, ...]


def reference_of(client: "MlflowClient", version: "ModelVersion", accepted: Record | None, root: Path) -> Reference:
    """Return the reference for what a version says now: the clips accepted last, or else those it was measured on.

    Raises:
        CacError: the version's test answers are not kept, or gone.
    """
    if accepted:
        name = f"clips of {accepted.place}, accepted (run {accepted.run_id})"
        return Reference(name, tuple(clips_of(client, accepted.run_id)))
    measured = recall(client, version, version.tags.get(EVALUATION_SET_TAG, ""))
    if measured is None:
        raise CacError(
            f"{version.name} version {version.version} has no test answers to compare with. Run `cac register` again."
        )
    name = f"the test split version {version.version} was measured on"
    return Reference(name, tuple(_with_motion(seen_in_measured(measured), measured.clips, root / DATASET)))


def _with_motion(seen: Sequence[Seen], clips: Sequence[Clip], dataset: Path) -> list[Seen]:
    """Measure how much the clips move whose very files are in the dataset."""
    return [_measured(one, clip, dataset / clip.path) for one, clip in zip(seen, clips, strict=True)]


def _measured(one: Seen, clip: Clip, path: Path) -> Seen:
    from cac.video.motion import motion

    if not path.is_file() or file_sha256(path) != clip.sha256:
        return one
    return replace(one, motion=motion(decode(path)))
