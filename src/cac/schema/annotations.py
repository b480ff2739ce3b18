"""The annotated dataset: clips, anomalies, windows, boxes, and the manifest they are kept in.

A dataset folder holds `clips/*.mp4`, `annotations.jsonl` (one clip a line) and `dataset.json`. Reading is strict: an
unknown key, a wrong type or an impossible value is an error that names the line and the field. Whether the annotations
agree with the video files is not checked here but in `data/validation/validate.py`.
"""

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cac.errors import CacError
from cac.schema.geometry import Box, Window, merge_windows
from cac.schema.taxonomy import LEAVES, Family, family_of

SCHEMA_VERSION = "1"
MANIFEST_NAME = "annotations.jsonl"
CARD_NAME = "dataset.json"

Split = Literal["train", "val", "test", "test_shifted", "test_hard"]
REQUIRED_SPLITS: tuple[Split, ...] = ("train", "val", "test")
# Further test splits, which a dataset need not have: clips unlike those of training, and clips that are hard to judge.
# A clip gets such a split where it is made; nothing moves it to another.
EXTRA_SPLITS: tuple[Split, ...] = ("test_shifted", "test_hard")

_TOLERANCE = 1e-6  # seconds; windows are written with rounded decimals. The frame samplers allow the same.


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class FrameBox(_Record):
    """Where the anomaly is in one frame; coordinates normalised to [0, 1] of width and height."""

    frame: int = Field(ge=0)
    box: tuple[float, float, float, float]

    @field_validator("box", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value


class Anomaly(_Record):
    """One anomaly of a clip: what it is, when (seconds, end exclusive), and where in each of its frames.

    `boxes` is empty where the source says only when, and `window` is None as well where it says only what.
    `saliency` in (0, 1] says how visible it is, 1 being obvious.
    """

    family: Family
    leaf: str
    window: tuple[float, float] | None
    boxes: tuple[FrameBox, ...]
    saliency: float = Field(gt=0, le=1)

    @field_validator("window", "boxes", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("family", mode="before")
    @classmethod
    def _as_family(cls, value: object) -> object:
        return Family(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _boxes_have_a_window(self) -> Self:
        if self.boxes and self.window is None:
            raise ValueError("an anomaly with boxes needs a window [start, end] in seconds")
        return self

    @model_validator(mode="after")
    def _leaf_belongs_to_family(self) -> Self:
        if self.leaf not in LEAVES:
            raise ValueError(f"unknown leaf {self.leaf!r}; known leaves: {', '.join(LEAVES)}")
        if family_of(self.leaf) != self.family:
            raise ValueError(f"leaf {self.leaf!r} belongs to {family_of(self.leaf)}, not {self.family}")
        return self


class Distractor(_Record):
    """What is easily taken for an anomaly and is none: a name for it, and when (seconds, end exclusive)."""

    name: str = Field(min_length=1)
    window: tuple[float, float]

    @field_validator("window", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value


class Clip(_Record):
    """One video of the dataset with all that is known of it.

    `path` is relative to the dataset folder. Where somebody noted `distractors`, false alarms are counted apart, and
    supervision shows them as what a scan may wrongly have stopped at.
    """

    clip_id: str = Field(min_length=1)
    path: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    fps: float = Field(gt=0)
    frame_count: int = Field(gt=0, le=10_000_000)
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    source: str
    generator: str
    split: Split
    pair_id: str
    anomalies: tuple[Anomaly, ...]
    distractors: tuple[Distractor, ...] = ()

    @field_validator("anomalies", "distractors", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frame_count / self.fps

    @property
    def is_clean(self) -> bool:
        """Whether the clip has no anomaly."""
        return not self.anomalies

    @property
    def windows(self) -> list[Window]:
        """The union of the windows that are known, in seconds, sorted."""
        return merge_windows([anomaly.window for anomaly in self.anomalies if anomaly.window is not None])

    @property
    def has_all_windows(self) -> bool:
        """Whether it is known of each anomaly when it is; so of a clean clip."""
        return all(anomaly.window is not None for anomaly in self.anomalies)

    def boxes_at(self, frame: int) -> list[tuple[str, Box]]:
        """Return (leaf, box) of every anomaly that has a box in this frame."""
        return [(a.leaf, b.box) for a in self.anomalies for b in a.boxes if b.frame == frame]

    def frames_of(self, anomaly: Anomaly) -> list[int]:
        """Return the frames that show an anomaly of this clip: those with a box, or without boxes all of its window.

        An anomaly without a window has none: nobody knows which.
        """
        if anomaly.boxes:
            return [box.frame for box in anomaly.boxes]
        return list(window_frames(anomaly, self.fps, self.frame_count))

    def shown_at(self, frame: int) -> list[tuple[str, Box | None]]:
        """Return (leaf, box) of every anomaly that this frame shows: those with a box, then those without boxes."""
        unplaced = [a.leaf for a in self.anomalies if not a.boxes and frame in self.frames_of(a)]
        return [*self.boxes_at(frame), *((leaf, None) for leaf in unplaced)]


def window_frames(anomaly: Anomaly, fps: float, frame_count: int) -> range:
    """Return the indices of the frames inside an anomaly's window; frame i is at i / fps seconds, end exclusive.

    Empty if the anomaly has no window.
    """
    if anomaly.window is None:
        return range(0)
    start, end = anomaly.window
    frames = range(frame_count)
    first, stop = (bisect_left(frames, time - _TOLERANCE, key=lambda i: i / fps) for time in (start, end))
    return frames[first:stop]


def parse_clip(line: str | bytes, where: str) -> Clip:
    """Parse one manifest line, UTF-8 if it is bytes.

    Raises:
        CacError: the line is no valid clip; the message names `where`, the field, and what was expected.
    """
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:  # besides bad JSON: not UTF-8, numbers too long, nesting too deep
        raise CacError(f"{where}: not valid JSON ({error}). Each line must be one clip.") from error
    try:
        return Clip.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'clip'}: {e['msg']}" for e in error.errors())
        raise CacError(f"{where}: {problems}") from error


def iter_clips(dataset: Path) -> Iterator[Clip]:
    """Yield the clips of a dataset folder in manifest order.

    Raises:
        CacError: the manifest is missing or a line of it is not valid.
    """
    manifest = dataset / MANIFEST_NAME
    if not manifest.is_file():
        raise CacError(
            f"no manifest at {manifest}. Build the sample dataset with `cac data build`, or `dvc pull` yours."
        )
    with manifest.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            yield parse_clip(line, f"{manifest}:{number}")


def read_clips(dataset: Path, split: Split | None = None) -> list[Clip]:
    """Return the clips of a dataset folder, all or those of one split."""
    return [clip for clip in iter_clips(dataset) if split is None or clip.split == split]


def write_clips(dataset: Path, clips: Iterable[Clip]) -> None:
    """Write the manifest; the same clips give the same bytes."""
    lines = (json.dumps(clip.model_dump(mode="json"), sort_keys=True) + "\n" for clip in clips)
    with (dataset / MANIFEST_NAME).open("w", encoding="utf-8") as manifest:
        manifest.writelines(lines)
