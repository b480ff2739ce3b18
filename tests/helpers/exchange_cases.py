"""Shared by the tests of imports: the videos' names, a label map, and the result of an import."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cac.schema.annotations import Clip

FILES = Path(__file__).parents[1] / "data" / "exchange" / "files"
UNICODE = "видео é.mp4"
LABELS = """
labels:
  Extra leg: extra_limb
  Person.fused=true: melted_body
  Person: ignore
  Flicker: colour_swap
"""


def small_video(seed: int, frames: int = 24, height: int = 48, width: int = 64) -> np.ndarray:
    """Frames of one colour each that differ between seeds, so that no two files have the same content."""
    colours = np.random.default_rng(seed).integers(0, 255, (frames, 1, 1, 3), dtype=np.uint8)
    return np.broadcast_to(colours, (frames, height, width, 3))


@dataclass(frozen=True)
class Imported:
    """An imported dataset and its report."""

    folder: Path
    clips: dict[str, Clip]
    report: dict


Importer = Callable[..., Imported]


def frames_of(clip: Clip, leaf: str) -> list[list[int]]:
    """The frames of each of the clip's anomalies of a leaf."""
    return [[box.frame for box in anomaly.boxes] for anomaly in clip.anomalies if anomaly.leaf == leaf]
