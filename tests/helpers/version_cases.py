"""Clips and dataset folders to merge, split, count and compare; where no frame matters, a file holds a word."""

import hashlib
from pathlib import Path
from typing import Any

from cac.data.versions.cards import Card, write_card
from cac.schema.annotations import Anomaly, Clip, FrameBox, write_clips
from cac.schema.taxonomy import family_of

CARD: Card = {"schema_version": "1", "taxonomy_version": "1", "source": "test", "licence": "CC0-1.0", "made_by": "test"}


def anomaly(leaf: str = "vanishing", window: tuple[float, float] = (0.25, 0.5), shift: float = 0.0) -> Anomaly:
    boxes = tuple(FrameBox(frame=frame, box=(0.1 + shift, 0.2, 0.5 + shift, 0.7)) for frame in (2, 3))
    return Anomaly(family=family_of(leaf), leaf=leaf, window=window, boxes=boxes, saliency=0.5)


def clip(clip_id: str, content: str | None = None, **changes: Any) -> Clip:
    """A clip whose file holds `content`, or the clip's own id."""
    values: dict[str, Any] = {
        "clip_id": clip_id, "path": f"clips/{clip_id}.mp4", "sha256": digest(content or clip_id), "fps": 8.0,
        "frame_count": 16, "width": 64, "height": 48, "source": "test", "generator": "by hand", "split": "train",
        "pair_id": clip_id, "anomalies": (),
    }  # fmt: skip
    return Clip(**values | changes)


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def dataset(folder: Path, *clips: Clip, contents: dict[str, str] | None = None, card: Card | None = None) -> Path:
    """Write a dataset; a clip's file holds what `contents` says, or the clip's own id."""
    (folder / "clips").mkdir(parents=True)
    for one in clips:
        (folder / one.path).write_text((contents or {}).get(one.clip_id, one.clip_id))
    write_clips(folder, clips)
    write_card(folder, CARD if card is None else card)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
