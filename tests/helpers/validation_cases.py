"""A small real dataset for tests of the validation, and readers of its results."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cac.params import Validation
from cac.schema.annotations import MANIFEST_NAME
from cac.schema.taxonomy import family_of
from cac.video.encode import encode

ClipDict = dict[str, Any]
Spoil = Callable[[Path, list[ClipDict]], object]

BOUNDS = Validation(
    min_clips_per_split=1,
    min_clean_ratio=0.4,
    max_clean_ratio=0.6,
    min_clips_per_family=1,
    max_duration=2.0,
    max_side=128,
    near_duplicate_distance=0.04,
    min_agreement=0.5,
    max_drift=0.1,
    reference=None,
)
FRAMES, FPS, SIZE = 8, 8.0, 32
GOOD = {
    "p0": ("train", "extra_limb"),
    "p1": ("train", "vanishing"),
    "p2": ("val", "teleport"),
    "p3": ("test", "garbled_text"),
}


def make_anomaly(leaf: str) -> dict[str, Any]:
    """An anomaly in frames 2, 3 and 4 of a clip at 8 fps."""
    return {
        "family": family_of(leaf).value,
        "leaf": leaf,
        "window": [0.25, 0.625],
        "boxes": [{"frame": frame, "box": [0.1, 0.2, 0.5, 0.75]} for frame in (2, 3, 4)],
        "saliency": 0.5,
    }


def make_pair(dataset: Path, pair_id: str, split: str, leaf: str) -> list[ClipDict]:
    """Encode a clean and an anomalous clip of noise, `PAIR-ok` and `PAIR-bad`, and return their annotations."""
    (dataset / "clips").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(list(pair_id.encode()))
    pair = []
    for kind in ("ok", "bad"):
        path = dataset / "clips" / f"{pair_id}-{kind}.mp4"
        encode(path, random.integers(0, 255, (FRAMES, SIZE, SIZE, 3), dtype=np.uint8), FPS)
        clip: ClipDict = {"clip_id": f"{pair_id}-{kind}", "path": f"clips/{path.name}", "sha256": hash_of(path)}
        clip |= {"fps": FPS, "frame_count": FRAMES, "width": SIZE, "height": SIZE, "source": "test"}
        clip |= {"generator": "test", "split": split, "pair_id": pair_id}
        pair.append(clip | {"anomalies": [make_anomaly(leaf)] if kind == "bad" else []})
    return pair


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(dataset: Path, clips: list[ClipDict]) -> None:
    lines = (json.dumps(clip) + "\n" for clip in clips)
    (dataset / MANIFEST_NAME).write_text("".join(lines), encoding="utf-8")


def failures(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "failures.jsonl").read_text(encoding="utf-8").splitlines()]


def result(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "result.json").read_text(encoding="utf-8")))
