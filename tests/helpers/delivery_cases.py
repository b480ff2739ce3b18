"""Datasets of tiny real videos to deliver, and ways to corrupt them."""

import hashlib
import json
from pathlib import Path

import numpy as np

from cac.data.versions.cards import write_card
from cac.schema.annotations import Anomaly, Clip, FrameBox, read_clips, write_clips
from cac.schema.taxonomy import family_of
from cac.video.encode import encode

FRAMES, FPS, SIZE = 8, 8.0, 32
CARD = {"schema_version": "1", "taxonomy_version": "1", "source": "test", "licence": "CC0-1.0", "made_by": "test"}


def make_clip(folder: Path, clip_id: str, pair_id: str, is_clean: bool) -> Clip:
    """Encode a video that depends on its clip's id only, and return its annotation."""
    path = folder / "clips" / f"{clip_id}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(clip_id.encode()).digest()[:4], "big"))
    encode(path, rng.integers(0, 255, (FRAMES, SIZE, SIZE, 3), dtype=np.uint8), FPS)
    boxes = tuple(FrameBox(frame=frame, box=(0.1, 0.2, 0.5, 0.7)) for frame in (2, 3))
    defect = Anomaly(family=family_of("vanishing"), leaf="vanishing", window=(0.25, 0.5), boxes=boxes, saliency=0.5)
    return Clip(
        clip_id=clip_id, path=f"clips/{clip_id}.mp4", sha256=hashlib.sha256(path.read_bytes()).hexdigest(), fps=FPS,
        frame_count=FRAMES, width=SIZE, height=SIZE, source="test", generator="noise", split="train",
        pair_id=pair_id, anomalies=() if is_clean else (defect,),
    )  # fmt: skip


def make_dataset(folder: Path, *pairs: str) -> Path:
    """Make a dataset of twins, `PAIR-clean` and `PAIR-bad`."""
    clips = [make_clip(folder, f"{pair}-{kind}", pair, kind == "clean") for pair in pairs for kind in ("bad", "clean")]
    write_clips(folder, clips)
    write_card(folder, CARD)
    return folder


def change(folder: Path, clip_id: str, /, **changes: object) -> None:
    """Change a clip's annotation."""
    write_clips(folder, [c.model_copy(update=changes) if c.clip_id == clip_id else c for c in read_clips(folder)])


def change_lines(folder: Path, clip_id: str, /, **changes: object) -> None:
    """Change a clip's line, also to an invalid one."""
    manifest = folder / "annotations.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    manifest.write_text(
        "".join(json.dumps(one | changes if one["clip_id"] == clip_id else one) + "\n" for one in lines)
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
